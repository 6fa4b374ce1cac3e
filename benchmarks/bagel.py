"""Speed and memory of BAGEL's class at any size: ``python -m benchmarks.bagel --size 7b`` on a GPU.

Random weights, which cost what trained ones do. Three measurements, for each side of ``--pixels``:

- *sampling*: one-pass generation in a batch against the upstream way, in the same run: one candidate at a
  time, the written trace read again as a new context, the branches of guidance one after another and, as
  upstream's, only inside its interval. Both must draw every picture, and the same one; the share is that of
  the bound in ``benchmarks.ceiling``;
- *training*: samples a second with adapters or whole, padded against packed rows; the share is the MFU;
- *memory*: the peak of each.

Without a GPU it runs ``--size small`` on one CPU core and counts processor time, so that a busy machine does not
matter; those ratios say nothing of a GPU's. A trace of random weights never ends by itself, so the text head
is made to end it after ``--trace`` tokens. Last printed there:

    0.0134 B parameters, one CPU core; peaks measured: 0.97 TFLOP/s, 3.9 GB/s
    px                      work  a second  times  of the bound or peak  peak GiB
    48  sample, the upstream way     0.386   1.00                   44%       0.8
    48           sample, batch 8      0.73   1.89                   13%       0.8
    48             train, padded      7.67   1.00                    3%       0.8
    48             train, packed      6.39   0.83                    2%       0.8
"""

import argparse
import json
import resource
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from benchmarks.ceiling import Ceiling, ceiling, sampling_bound, training_flops
from benchmarks.two_ways import WORDS, apart, one_pass, upstream_way
from datagen.console import table
from datagen.models.bagel import BagelModel
from datagen.models.bagel.config import BAGEL_7B, BagelConfig
from datagen.models.bagel.model import Bagel
from datagen.models.bagel.tokenizer import train_tokenizer
from datagen.models.base import Example, GenerationConfig
from trainer.adapters import add_lora
from trainer.loss import weighted_loss

SMALL = BagelConfig(  # upstream's sampler on a small network
    vocab_size=512, hidden_size=256, intermediate_size=704, num_layers=8, num_heads=8, num_kv_heads=8,
    max_latent_size=16, prediction="velocity", steps=BAGEL_7B.steps, cfg=BAGEL_7B.cfg,
    cfg_interval=BAGEL_7B.cfg_interval, cfg_renorm=BAGEL_7B.cfg_renorm,
)  # fmt: skip
SIZES = {
    "small": (SMALL, [48]),
    "7b": (replace(BAGEL_7B, vit_layers=0, batch=0), [512, 1024]),  # the tower that looks draws nothing
}
SAME = {torch.float32: 1e-3, torch.bfloat16: 0.1}  # two latents of one picture, over its norm


@dataclass(frozen=True)
class Figure:
    """One line of the table; ``times`` is against the first way of the same work."""

    pixels: int
    work: str
    a_second: float  # images or samples
    gib: float
    times: float
    share: float  # of the bound; of the peak's FLOPs in training


class NoCodec:
    """Latents stand for pictures: the autoencoder is apart from what is measured here."""

    def __init__(self, config: BagelConfig) -> None:
        self.downsample = config.latent_downsample
        self.shape = (config.latent_channels, *(2 * [config.latent_side * config.latent_patch_size]))

    def encode(self, pixels: Tensor) -> Tensor:
        return pixels.new_zeros(len(pixels), *self.shape)

    def decode(self, latent: Tensor) -> Tensor:
        return latent.new_zeros(len(latent), 3, 8, 8)


def random_network(config: BagelConfig, device: str) -> Bagel:
    """Random weights, bfloat16 on a GPU; made there, since 14 B parameters take minutes on a CPU."""
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16 if device == "cuda" else torch.float32)
    try:
        with torch.device(device):
            network = Bagel(config)
    finally:
        torch.set_default_dtype(before)
    nn.init.normal_(network.llm2vae.weight, std=config.hidden_size**-0.5)  # as it begins, it says nothing
    return network


def at_size(network: Bagel, pixels: int) -> BagelModel:
    """The network as a model that draws pictures of ``pixels`` a side."""
    network.config = replace(network.config, image_size=pixels)
    codec: Any = NoCodec(network.config) if network.config.codec == "flux" else None
    return BagelModel(network, train_tokenizer([WORDS] * 20, 400), codec=codec)


def timed(work: Callable[[], Any], device: str, repeats: int) -> tuple[Any, float, float]:
    """(what it made, seconds of the fastest of ``repeats``, peak memory in GiB); once before to warm up."""
    clock = time.monotonic if device == "cuda" else time.process_time
    best, made = float("inf"), None
    for i in range(repeats + 1):
        if device == "cuda":
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        began = clock()
        made = work()
        if device == "cuda":
            torch.cuda.synchronize()
        best = min(best, clock() - began) if i else best
    if device == "cuda":
        return made, best, torch.cuda.max_memory_allocated() / 2**30
    return made, best, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def sampling(model: BagelModel, args: argparse.Namespace, limit: Ceiling) -> list[Figure]:
    """Greedy traces, so that both ways write the same; fails unless both draw the same pictures."""
    config = GenerationConfig(force=True, temperature=0.0, steps=args.steps, max_trace_tokens=args.trace)
    _, alone, single = timed(lambda: upstream_way(model, 0, config), args.device, args.repeats)
    made, together, memory = timed(lambda: one_pass(model, args.batch, config), args.device, args.repeats)
    most = SAME[model.network.vae2llm.weight.dtype]
    for seed, sample in enumerate(made):
        assert sample.image is not None, "no picture was drawn"
        if seed < 2:  # each costs as much as a measurement
            far = apart(sample, upstream_way(model, seed, config, sample.trace_ids))
            assert far < most, f"the two ways draw other pictures: {far:.2g} apart"
    prompt = len(model.prompt_ids(WORDS)) + 1
    pixels = model.config.image_size

    def figure(work: str, batch: int, seconds: float, gib: float) -> Figure:
        bound = sampling_bound(limit, model.network, batch, prompt, args.trace, args.steps)
        rate = batch / seconds
        return Figure(pixels, work, rate, gib, rate * alone, bound / seconds)

    return [
        figure("sample, the upstream way", 1, alone, single),
        figure(f"sample, batch {args.batch}", args.batch, together, memory),
    ]


def training(model: BagelModel, args: argparse.Namespace, limit: Ceiling) -> list[Figure]:
    """Forward and backward of weighted losses, AdamW's step included; rows of unlike lengths."""
    network = model.network
    side = model.config.image_size
    picture = Image.new("RGB", (side, side), (200, 30, 40))
    examples = [
        Example(WORDS, " ".join([WORDS] * (1 + i % 4)), None if i % 4 == 3 else picture)
        for i in range(args.batch)
    ]
    batch = model.collate(examples).to(args.device)
    optimizer = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=1e-5)

    def step() -> None:
        with torch.autocast(args.device, torch.bfloat16):
            loss = weighted_loss(model.losses(batch), batch)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    flops = training_flops(network, batch)
    rows: list[Figure] = []
    for packed in (False, True):
        network.packed = packed
        _, seconds, memory = timed(step, args.device, args.repeats)
        rate = args.batch / seconds
        against = rate / rows[0].a_second if rows else 1.0
        name = f"train, {'packed' if packed else 'padded'}"
        rows.append(Figure(side, name, rate, memory, against, flops / seconds / limit.flops))
    return rows


def measure(network: Bagel, args: argparse.Namespace, limit: Ceiling) -> list[Figure]:
    """Every size drawn before any is trained: adapters, once there, stay."""
    rows = [row for side in args.pixels for row in sampling(at_size(network, side), args, limit)]
    if args.rank:
        add_lora(network, args.rank)
    network.train()
    network.gradient_checkpointing_enable()
    return rows + [row for side in args.pixels for row in training(at_size(network, side), args, limit)]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    gpu = torch.cuda.is_available()
    parser.add_argument("--size", choices=SIZES, default="7b" if gpu else "small")
    parser.add_argument("--pixels", type=int, nargs="+", help="sides; default 512 and 1024, 48 for small")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=None, help="of the flow; default the model's")
    parser.add_argument("--trace", type=int, default=64, help="tokens of a trace")
    parser.add_argument("--rank", type=int, default=16, help="of adapters; 0 trains all")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    args = parser.parse_args()
    args.device = "cuda" if gpu else "cpu"
    if not gpu:
        torch.set_num_threads(1)
    config, sides = SIZES[args.size]
    args.pixels = args.pixels or sides
    limit = ceiling(args.device)
    network = random_network(config, args.device)
    count = sum(p.numel() for p in network.parameters())
    rows = measure(network, args, limit)
    device = torch.cuda.get_device_name() if gpu else "one CPU core"
    if args.out:
        told = {"device": device, "parameters": count, "ceiling": asdict(limit)}
        args.out.write_text(json.dumps(told | {"figures": [asdict(r) for r in rows]}, indent=1) + "\n")
    source = "measured" if limit.measured else "of the data sheet"
    table(
        f"{count / 1e9:.3g} B parameters, {device}; peaks {source}: {limit.flops / 1e12:.3g} TFLOP/s, "
        f"{limit.bandwidth / 1e9:.3g} GB/s",
        ("px", "work", "a second", "times", "of the bound or peak", "peak GiB"),
        [
            (r.pixels, r.work, f"{r.a_second:.3g}", f"{r.times:.2f}", f"{r.share:.0%}", f"{r.gib:.1f}")
            for r in rows
        ],
    )


if __name__ == "__main__":
    main()
