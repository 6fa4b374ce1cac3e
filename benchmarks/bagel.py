"""Speed and memory of BAGEL's class at any size: ``python -m benchmarks.bagel --size 7b`` on a GPU.

Random weights, which cost what trained ones do. Three measurements:

- *sampling*: one-pass generation in a batch against the upstream way, in the same run: one candidate at a
  time, the written trace read again as a new context, the branches of guidance one after another;
- *training*: samples a second with adapters or whole, padded against packed rows, MFU where the device's
  peak is known (``trainer.meters``);
- *memory*: the peak of each.

Without a GPU it runs ``--size small`` on the CPU, whose ratios say nothing of a GPU's. A trace of random
weights never ends by itself, so traces are cut at ``--trace`` tokens and images are forced.
"""

import argparse
import json
import resource
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from PIL import Image

from datagen.console import table
from datagen.models.bagel import BagelModel
from datagen.models.bagel.config import BAGEL_7B, BagelConfig
from datagen.models.bagel.model import Bagel
from datagen.models.bagel.tokenizer import train_tokenizer
from datagen.models.base import Example, GenerationConfig
from trainer.checkpoint import add_lora
from trainer.loss import weighted_loss
from trainer.meters import Throughput, image_tokens, peak_flops

SMALL = BagelConfig(
    vocab_size=512, hidden_size=256, intermediate_size=704, num_layers=8, num_heads=8, num_kv_heads=8
)
SIZES = {
    "small": SMALL,
    "7b": replace(BAGEL_7B, vit_layers=0),
}  # the tower that looks at images draws nothing
WORDS = "a red circle and two blue stars on a plain background, planned from left to right in simple words"


class NoCodec:
    """Latents stand for pictures: the autoencoder is apart from what is measured here."""

    def __init__(self, config: BagelConfig) -> None:
        self.downsample = config.latent_downsample
        self.shape = (config.latent_channels, *(2 * [config.latent_side * config.latent_patch_size]))

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        return pixels.new_zeros(len(pixels), *self.shape)

    def decode(self, latent: torch.Tensor) -> torch.Tensor:
        return latent.new_zeros(len(latent), 3, 8, 8)


def random_model(config: BagelConfig, device: str) -> BagelModel:
    """A BAGEL of random weights, bfloat16 on a GPU; built there, since 14 B parameters take minutes on a CPU."""
    torch.manual_seed(0)
    tokenizer = train_tokenizer([WORDS] * 20, 400)
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            network = Bagel(config)
    finally:
        torch.set_default_dtype(before)
    codec: Any = NoCodec(config) if config.codec == "flux" else None
    return BagelModel(network, tokenizer, codec=codec)


def timed(work: Callable[[], Any], device: str, repeats: int) -> tuple[float, float]:
    """(seconds of the fastest of ``repeats``, peak memory in GiB); once before to warm up."""
    best = float("inf")
    for i in range(repeats + 1):
        if device == "cuda":
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        began = time.monotonic()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.monotonic() - began) if i else best
    if device == "cuda":
        return best, torch.cuda.max_memory_allocated() / 2**30
    return best, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def upstream_way(model: BagelModel, config: GenerationConfig) -> None:
    """One candidate as upstream's inferencer makes it: text, then all of it read again, branches in turn."""
    written = model.generate([WORDS], [0], replace(config, force=False, cfg=1.0, steps=1))[0]
    trace = written.trace or WORDS
    given = replace(config, trace="given", force=True, cfg=1.0)
    for _ in range(1 if model.config.cfg == 1 else 2):  # the conditional branch, then the unconditional one
        model.generate([WORDS], [0], given, [trace])


def sampling(model: BagelModel, args: argparse.Namespace) -> list[tuple[str, ...]]:
    config = GenerationConfig(force=True, steps=args.steps, max_trace_tokens=args.trace)
    seeds = list(range(args.batch))
    ours, memory = timed(
        lambda: model.generate([WORDS] * args.batch, seeds, config), args.device, args.repeats
    )
    theirs, single = timed(lambda: upstream_way(model, config), args.device, args.repeats)
    each = ours / args.batch
    return [
        (f"sample, batch {args.batch}", f"{1 / each:.3f} images/s", f"{memory:.1f}", ""),
        ("sample, the upstream way", f"{1 / theirs:.3f} images/s", f"{single:.1f}", f"{theirs / each:.2f} x"),
    ]


def training(model: BagelModel, args: argparse.Namespace) -> list[tuple[str, ...]]:
    """Forward and backward of weighted losses, AdamW's step included; rows of unlike lengths."""
    network = model.network
    if args.rank:
        add_lora(network, args.rank)
    network.train()
    network.gradient_checkpointing_enable()
    side = model.config.image_size
    picture = Image.new("RGB", (side, side), (200, 30, 40))
    examples = [
        Example(WORDS, " ".join([WORDS] * (1 + i % 4)), None if i % 4 == 3 else picture)
        for i in range(args.batch)
    ]
    batch = model.collate(examples).to(args.device)
    optimizer = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=1e-5)
    rows: list[tuple[str, ...]] = []
    base = 0.0
    for packed in (False, True):
        network.packed = packed
        meter = Throughput(network, image_tokens(model))

        def step() -> None:
            with torch.autocast(args.device, torch.bfloat16):
                loss = weighted_loss(model.losses(batch), batch)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()

        seconds, memory = timed(step, args.device, args.repeats)
        meter.count(batch)
        meter.since = time.monotonic() - seconds
        mfu = meter.read().get("mfu")
        base = base or seconds
        figures = f"{base / seconds:.2f} x" + (f", MFU {mfu:.0%}" if mfu else "")
        rows.append((f"train, {'packed' if packed else 'padded'}", f"{args.batch / seconds:.3f} samples/s",
                     f"{memory:.1f}", figures))  # fmt: skip
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    gpu = torch.cuda.is_available()
    parser.add_argument("--size", choices=SIZES, default="7b" if gpu else "small")
    parser.add_argument("--pixels", type=int, default=None, help="a side; 512 or 1024 for 7b")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=None, help="of the flow; default the model's")
    parser.add_argument("--trace", type=int, default=64, help="tokens of a trace")
    parser.add_argument("--rank", type=int, default=16, help="of adapters; 0 trains all")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    args.device = "cuda" if gpu else "cpu"
    config = SIZES[args.size]
    if args.pixels:
        config = replace(config, image_size=args.pixels)
    model = random_model(config, args.device)
    count = sum(p.numel() for p in model.network.parameters())
    rows = [*sampling(model, args), *training(model, args)]
    device = torch.cuda.get_device_name() if gpu else f"CPU, {torch.get_num_threads()} threads"
    if args.json:
        print(json.dumps({"device": device, "parameters": count, "pixels": config.image_size, "rows": rows}))
        return
    known = "" if peak_flops() else " (its peak is not known, so no MFU)"
    table(
        f"{count / 1e9:.2f} B parameters, {config.image_size} px, {device}{known}",
        ("work", "speed", "peak GiB", "against"),
        rows,
    )


if __name__ == "__main__":
    main()
