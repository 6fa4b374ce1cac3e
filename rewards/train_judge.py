"""Train the held-out judge on drawn scenes: ``python -m rewards.train_judge --out rewards/weights``.

Scenes are random layouts (not the captions' distribution), half of them blurred, shifted or noisy,
so that the judge also reads generated pictures. A few CPU minutes; prints the share of whole scenes
read without any error on fresh clean ones.
"""

import argparse
import random
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from scipy import ndimage
from torch import Tensor

from datagen.scenes.draw import draw_layout
from datagen.scenes.layout import Placed
from datagen.scenes.vocabulary import COLORS, GRID, SHAPES, SIZES
from rewards.judge import OUTPUTS, SceneNet, decode, to_tensor


def random_layout(rng: random.Random) -> list[Placed]:
    cells = rng.sample(range(GRID * GRID), rng.randint(0, GRID * GRID))
    return [Placed(rng.choice(SHAPES), rng.choice(tuple(COLORS)), c, rng.choice(SIZES)) for c in cells]


def spoil(image: np.ndarray, rng: random.Random) -> np.ndarray:
    """What a generator does to a scene: blur, a shift of a pixel, noise."""
    out = image.astype(np.float32)
    if rng.random() < 0.5:
        sigma = rng.uniform(0.2, 0.7)
        out = ndimage.gaussian_filter(out, (sigma, sigma, 0))
    if rng.random() < 0.5:
        out = np.roll(out, (rng.randint(-1, 1), rng.randint(-1, 1)), (0, 1))
    noise = np.random.default_rng(rng.getrandbits(32)).normal(0, rng.uniform(0, 12), out.shape)
    return np.clip(out + noise, 0, 255).astype(np.uint8)


def labels(layouts: list[list[Placed]]) -> Tensor:
    """[B, 3, 9]: shape (0 empty), colour (-1 empty), size (-1 empty)."""
    out = torch.full((len(layouts), 3, GRID * GRID), -1)
    out[:, 0] = 0
    for i, layout in enumerate(layouts):
        for p in layout:
            out[i, 0, p.cell] = SHAPES.index(p.shape) + 1
            out[i, 1, p.cell] = tuple(COLORS).index(p.color)
            out[i, 2, p.cell] = SIZES.index(p.size or "large")
    return out


def accuracy(net: SceneNet, scenes: int, seed: int) -> float:
    """Share of clean drawn scenes whose every object is read right."""
    rng = random.Random(f"accuracy/{seed}")
    layouts = [random_layout(rng) for _ in range(scenes)]
    with torch.inference_mode():
        seen = decode(net(to_tensor([draw_layout(p, rng) for p in layouts])))
    right = 0
    for layout, found in zip(layouts, seen, strict=True):
        said = {(p.shape, p.color, p.size or "large", p.cell) for p in layout}
        read = {(s.cls, s.color, s.size, int(s.y // 16) * GRID + int(s.x // 16)) for s in found}
        right += said == read
    return right / scenes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    rng = random.Random(f"judge/{args.seed}")
    net = SceneNet()
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=args.steps)
    for step in range(args.steps):
        layouts = [random_layout(rng) for _ in range(args.batch_size)]
        images = [draw_layout(p, rng) for p in layouts]
        images = [spoil(x, rng) if rng.random() < 0.5 else x for x in images]
        truth = labels(layouts)
        heads = net(to_tensor(images)).flatten(2).split(OUTPUTS, dim=1)
        loss = torch.stack(
            [F.cross_entropy(h, truth[:, i], ignore_index=-1) for i, h in enumerate(heads)]
        ).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if (step + 1) % 100 == 0:
            print(f"step {step + 1}: loss {loss.item():.4f}", flush=True)
    net.eval()
    print(f"whole scenes read right: {accuracy(net, 2000, args.seed):.4f}")
    args.out.mkdir(parents=True, exist_ok=True)
    save_file(net.state_dict(), args.out / "judge.safetensors", metadata={"format": "pt"})


if __name__ == "__main__":
    main()
