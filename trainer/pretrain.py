"""Pretrain the pocket model from scratch on drawn scenes: ``python -m trainer.pretrain --out DIR``.

On a CPU, one single-threaded process a core is twice as fast as threads inside one process at this
size: ``OMP_NUM_THREADS=1 torchrun --nproc-per-node 2 -m trainer.pretrain --out DIR``.

Seeded, resumable (run it again), time-bounded (``--minutes``): the rate falls linearly to zero over
the last quarter of whichever of steps or minutes is used. Like the released BAGEL, it never
supervises the opening token: opening the image alone is left to post-training. A fifth of the
pictures come without a trace, from clean captions, so that the model also has a no-thinking mode.

Left out: sharding (gradients are averaged, every process holds the model) and evaluation, which
``datagen eval`` does.
"""

import argparse
import copy
import json
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.distributed as dist
from PIL import Image

from datagen.models.bagel import BagelModel, load
from datagen.models.bagel.config import POCKET
from datagen.models.bagel.model import Bagel
from datagen.models.bagel.tokenizer import train_tokenizer
from datagen.models.base import Example, UnifiedBatch
from datagen.scenes.captions import BARE, FILLER, NO_TRACE, Caption, sample_caption
from datagen.scenes.draw import draw_layout

EMA = 0.998
SORT_WINDOW = 8  # batches drawn together and sorted by length: less padding


def example(caption: Caption, rng: random.Random) -> Example:
    """Draw the caption's layout; a clean caption sometimes comes without its trace."""
    bare = caption.clean and rng.random() < BARE.get(caption.kind, NO_TRACE)
    image = Image.fromarray(draw_layout(caption.layout, rng))
    return Example(caption.prompt, "" if bare else caption.trace, image, open_image=False)


def batches(
    model: BagelModel,
    size: int,
    seed: int,
    start: int,
    rank: int = 0,
    world: int = 1,
    lettering: float = 0.0,
) -> Iterator[UnifiedBatch]:
    """Endless batches of ``size`` in all, this rank's share of each; ``lettering`` of it words beyond their odds.

    Window ``w`` depends on (seed, w) only, so a resumed run sees the same data.
    """
    window = start // SORT_WINDOW
    while True:
        rng = random.Random(f"{seed}/{window}")
        kinds = ["text" if rng.random() < lettering else None for _ in range(size * SORT_WINDOW)]
        examples = [example(sample_caption(rng, kind), rng) for kind in kinds]
        examples.sort(key=lambda e: len(e.prompt) + len(e.trace))
        groups = [examples[i : i + size] for i in range(0, len(examples), size)]
        rng.shuffle(groups)
        for group in groups[start % SORT_WINDOW :]:
            yield model.collate(group[rank::world])
        start = 0
        window += 1


def pocket(seed: int) -> BagelModel:
    """A freshly initialised pocket model with a tokenizer trained on its captions."""
    rng = random.Random(f"tokenizer/{seed}")
    captions = [sample_caption(rng) for _ in range(20_000)]
    texts = [t for c in captions for t in (c.prompt, c.trace)] + [" ".join(FILLER)] * 50
    torch.manual_seed(seed)
    return BagelModel(Bagel(POCKET), train_tokenizer(texts, POCKET.vocab_size), "pocket")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="checkpoints and log; kept out of git")
    parser.add_argument("--minutes", type=float, default=60, help="wall time to train for, over all resumes")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--init", default="", help="start from this model's weights, as pocket, not from scratch"
    )
    parser.add_argument(
        "--lettering",
        type=float,
        default=0.0,
        help="share of more words: what letters look like is learnt last",
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    if world > 1:
        if args.device == "cuda":
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        dist.init_process_group("gloo" if args.device == "cpu" else "nccl")

    model = load(args.init) if args.init else pocket(args.seed)
    network = model.network.to(args.device)
    network.train()
    average = copy.deepcopy(network)
    decay = [p for p in network.parameters() if p.requires_grad and p.ndim > 1]
    rest = [p for p in network.parameters() if p.requires_grad and p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decay, "weight_decay": 0.02}, {"params": rest, "weight_decay": 0.0}],
        lr=args.lr,
        betas=(0.9, 0.98),
        fused=True,
    )
    step, spent = 0, 0.0
    state = args.out / "state.pt"
    if state.exists():
        saved = torch.load(state, map_location=args.device, weights_only=True)
        network.load_state_dict(saved["model"])
        average.load_state_dict(saved["ema"])
        optimizer.load_state_dict(saved["optimizer"])
        step, spent = saved["step"], saved["spent"]
    generator = torch.Generator(args.device)
    trained = [p for p in network.parameters() if p.requires_grad]
    log = (args.out / "log.jsonl").open("a") if rank == 0 else None
    began = last_save = time.monotonic()
    sums = torch.zeros(2)
    done = spent / (args.minutes * 60)
    for batch in batches(model, args.batch_size, args.seed, step, rank, world, args.lettering):
        if done >= 1:
            break
        rate = args.lr * min(1.0, (step + 1) / 200, max((1 - done) / 0.3, 0.01))
        for group in optimizer.param_groups:
            group["lr"] = rate
        generator.manual_seed((args.seed * 1_000_003 + step) * world + rank)
        with torch.autocast(args.device, torch.bfloat16):
            out = model.losses(batch.to(args.device), generator)
        optimizer.zero_grad()
        out.loss.backward()
        done = average_gradients(trained, (spent + time.monotonic() - began) / (args.minutes * 60), world)
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        step += 1
        keep = min(EMA, (1 + step) / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1 - keep)
        sums += torch.stack([out.text.mean(), out.image.mean()]).detach().cpu()
        if rank or log is None:
            continue
        if step % 100 == 0:
            minutes = (spent + time.monotonic() - began) / 60
            text, image = (sums / 100).tolist()
            row = {
                "step": step,
                "minutes": round(minutes, 2),
                "text": round(text, 4),
                "image": round(image, 4),
                "lr": rate,
            }
            print(json.dumps(row), flush=True)
            log.write(json.dumps(row) + "\n")
            log.flush()
            sums.zero_()
        if time.monotonic() - last_save > 240:
            save(args.out, model, network, average, optimizer, step, spent + time.monotonic() - began)
            last_save = time.monotonic()
    if rank == 0:
        save(args.out, model, network, average, optimizer, step, spent + time.monotonic() - began)
    if world > 1:
        dist.destroy_process_group()


def average_gradients(parameters: list[torch.nn.Parameter], done: float, world: int) -> float:
    """Average gradients over the processes in one message; the clock rides along, so all stop together."""
    if world == 1:
        return done
    grads = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
    flat = torch.cat([*(g.flatten() for g in grads), grads[0].new_tensor([done])])
    dist.all_reduce(flat)
    flat /= world
    for p, g in zip(parameters, flat[:-1].split([p.numel() for p in parameters]), strict=True):
        p.grad = g.view_as(p)
    return float(flat[-1])


def save(
    out: Path,
    model: BagelModel,
    network: Bagel,
    average: Bagel,
    optimizer: torch.optim.Optimizer,
    step: int,
    spent: float,
) -> None:
    """The resumable state, then the averaged weights as a bfloat16 checkpoint folder ``out/model``."""
    partial = out / "state.partial"
    torch.save(
        {
            "model": network.state_dict(),
            "ema": average.state_dict(),
            "optimizer": optimizer.state_dict(),
            "step": step,
            "spent": spent,
        },
        partial,
    )
    partial.replace(out / "state.pt")
    BagelModel(copy.deepcopy(average).bfloat16(), model.tokenizer, "pocket").save(str(out / "model"))


if __name__ == "__main__":
    main()
