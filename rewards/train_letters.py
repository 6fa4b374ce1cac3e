"""Train the held-out judge of lettering: ``python -m rewards.train_letters --out rewards/weights``.

Words are random letters (no dictionary to lean on), one to three a picture, with shapes in the free
bands, half of the pictures spoilt as a generator spoils them. Prints the share of words read without an
error on fresh clean and fresh spoilt pictures.
"""

import argparse
import random
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from datagen.scenes.draw import LEFT, draw_layout
from datagen.scenes.layout import Placed
from datagen.scenes.vocabulary import COLORS, GRID, ROWS, SHAPES, SIZES
from rewards.judge import to_tensor
from rewards.letters import LATTICE, LETTERS, LetterNet, decode
from rewards.train_judge import spoil

LATTICE_ROW = (1, 3, 6)  # of a word at the top, in the middle, at the bottom, as draw_layout has it


def random_words(rng: random.Random) -> list[Placed]:
    """Words in some bands, shapes in the others."""
    placed = []
    for band in range(len(ROWS)):
        kind = rng.random()
        if kind < 0.5:
            word = "".join(rng.choice(LETTERS) for _ in range(rng.randint(2, LATTICE - 1)))
            placed.append(Placed("text", rng.choice(tuple(COLORS)), band, word=word))
        elif kind < 0.75:
            for column in rng.sample(range(GRID), rng.randint(1, GRID)):
                cell = band * GRID + column
                placed.append(Placed(rng.choice(SHAPES), rng.choice(tuple(COLORS)), cell, rng.choice(SIZES)))
    return placed


def labels(layouts: list[list[Placed]]) -> Tensor:
    """[B, 8, 8] letter of each cell, 0 for none."""
    out = torch.zeros(len(layouts), LATTICE, LATTICE, dtype=torch.long)
    for i, layout in enumerate(layouts):
        for p in layout:
            for k, letter in enumerate(p.word):
                out[i, LATTICE_ROW[p.cell], LEFT + k] = LETTERS.index(letter) + 1
    return out


def accuracy(net: LetterNet, pictures: int, seed: int, spoilt: bool = False) -> float:
    """Share of pictures whose words are all read right and no other."""
    rng = random.Random(f"letters/{seed}")
    layouts = [random_words(rng) for _ in range(pictures)]
    images = [draw_layout(p, rng) for p in layouts]
    if spoilt:
        images = [spoil(x, rng) for x in images]
    with torch.inference_mode():
        read = decode(net(to_tensor(images)))
    wanted = [[p.word for p in sorted(layout, key=lambda p: p.cell) if p.word] for layout in layouts]
    return float(np.mean([a == b for a, b in zip(read, wanted, strict=True)]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=700)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    rng = random.Random(f"letters/train/{args.seed}")
    net = LetterNet()
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=args.steps)
    for step in range(args.steps):
        layouts = [random_words(rng) for _ in range(args.batch_size)]
        images = [draw_layout(p, rng) for p in layouts]
        images = [spoil(x, rng) if rng.random() < 0.5 else x for x in images]
        loss = F.cross_entropy(net(to_tensor(images)), labels(layouts))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 100 == 99:
            print(f"step {step + 1}: loss {loss.item():.4f}", flush=True)
    net.eval()
    args.out.mkdir(parents=True, exist_ok=True)
    save_file(net.state_dict(), args.out / "letters.safetensors")
    print(f"clean pictures read without an error: {accuracy(net, 1000, 1):.4f}")
    print(f"spoilt pictures read without an error: {accuracy(net, 1000, 2, spoilt=True):.4f}")


if __name__ == "__main__":
    main()
