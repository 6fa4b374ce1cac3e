"""What millions of candidates take: ``python -m benchmarks.scaling`` prints the tables of ``docs/scaling.md``.

And first the README's, of one turn of the loop. Left out: starting, and loading 29 GB of weights in each process.

Two kinds of rates, kept apart. ``MEASURED`` were printed by ``benchmarks.overhead`` on two CPU cores: they are
the engine's own cost. ``ARITHMETIC`` is operations over a device's peak at a stated utilisation: no GPU of
this size has run BAGEL here. Change ``--utilisation``, ``--price`` or the numbers below for your own.
"""

import argparse
from dataclasses import dataclass

CANDIDATES = (1_000_000, 10_000_000, 100_000_000)
GPUS = (8, 64, 512)
K = 8  # candidates a prompt
PEAK = 989e12  # bf16 operations/s of one H100 or H200
BANDWIDTH = 3.35e12  # bytes/s of one H100

MEASURED = {"through workers": 4888.0, "finish": 9833.0}  # candidates/s of two workers on two cores
BYTES_FINISH = 90  # of the driver's memory, a candidate
BYTES_THUMBNAIL = 768  # of its scratch file
BYTES_IMAGE = 400_000 + 16 * 64 * 64 * 2  # a PNG of 512 px, assumed, and its latent in float16
DISK = 1e9  # bytes/s, assumed; the end reads every picture twice and writes it once
UPLINK = 100e6 / 8  # bytes/s to the Hub, assumed


@dataclass(frozen=True)
class Bagel:
    """One candidate of BAGEL-7B-MoT at 512 px with upstream's sampler: 7 B active parameters."""

    active: float = 7e9
    image_tokens: int = 1024
    steps: int = 49
    guided: int = 41  # of the steps lie in the guidance interval, where a second branch runs (cfg_img is off)
    trace: int = 200  # tokens, decoded by a batch of 8: bound by reading the weights
    batch: int = 8

    def seconds(self, utilisation: float) -> dict[str, float]:
        """Of one GPU, by stage."""
        passes = self.steps + self.guided
        return {
            "prompt": 60 * 16e9 / BANDWIDTH / 64 / K,  # an 8 B writer, 60 tokens, batches of 64
            "trace": self.trace * 2 * self.active / BANDWIDTH / self.batch,
            "draw": passes * self.image_tokens * 2 * self.active / (PEAK * utilisation),
            "judge": 1300 * 2 * 8e9 / (PEAK * utilisation),  # an 8 B one reads a picture and its questions
        }


TRACE_AND_PROMPT = 320  # tokens that are trained on beside the picture's
TRAINING = 0.4  # of the peak, with recomputed activations
ADAPTERS, WHOLE = (
    6,
    8,
)  # operations a parameter and token: forward twice, gradients of activations, of weights


def loop(
    utilisation: float, price: float = 2.5, prompts: int = 120, epochs: int = 3, images: int = 6 * 60 * 4
) -> list[str]:
    """One turn of the loop at 512 px on 1 and 8 GPUs, by the commands' defaults: minutes of each, and the price."""
    each = Bagel().seconds(utilisation)
    made = prompts * K
    tokens = epochs * made * (TRACE_AND_PROMPT + Bagel.image_tokens)
    learning = tokens * Bagel.active / (PEAK * TRAINING)  # seconds an operation
    upload = made * BYTES_IMAGE / UPLINK

    def row(name: str, seconds: float, alone: bool = True) -> str:
        one = f"{seconds / 60:.0f} min" if alone else "does not fit"
        return f"| {name} | {one} | {seconds / 480:.0f} min | ${seconds / 3600 * price:.2f} |"

    return [
        f"| command | 1 GPU | 8 GPUs | at ${price:.2f} a GPU hour |",
        "|---|---|---|---|",
        row(f"`datagen eval`, {images:,} images", images * (each["trace"] + each["draw"] + each["judge"])),
        "| `datagen weaknesses`, a million rows | 16 s of one CPU core | the same | |",
        row(f"`datagen build`, {made:,} candidates", made * sum(each.values())),
        row(f"`datagen train`, {epochs} epochs of adapters", ADAPTERS * learning),
        row(f"`datagen train --lora 0 --shard`, {epochs} epochs of all", WHOLE * learning, alone=False),
        f"| `datagen publish`, {made * BYTES_IMAGE / 2**30:.1f} GiB at 100 Mbit/s | {upload:.0f} s | the same | |",
    ]


def seconds_line(utilisation: float) -> str:
    parts = Bagel().seconds(utilisation)
    said = ", ".join(f"{name} {s:.3f}" for name, s in parts.items())
    return f"GPU seconds of one candidate: {said}; in all {sum(parts.values()):.2f}"


def table(utilisation: float, price: float) -> list[str]:
    """Days on the GPUs, and their price; the ends that no GPU shortens."""
    each = sum(Bagel().seconds(utilisation).values())
    lines = [
        f"| candidates | {' | '.join(f'{g} GPUs' for g in GPUS)} | GPU hours | price | end, two cores, 1 GB/s | "
        "its memory | its scratch file | pictures and latents |",
        f"|{'---|' * (len(GPUS) + 7)}",
    ]
    for n in CANDIDATES:
        days = " | ".join(f"{n * each / g / 86400:.1f} days" for g in GPUS)
        hours = n * each / 3600
        lines.append(
            f"| {n // 10**6} M | {days} | {hours:,.0f} | ${hours * price / 1000:,.1f} k | "
            f"{n * (1 / MEASURED['finish'] + 3 * BYTES_IMAGE / DISK) / 3600:.1f} h | {n * BYTES_FINISH / 2**30:.1f} GiB | "
            f"{n * BYTES_THUMBNAIL / 2**40:.2f} TiB | {n * BYTES_IMAGE / 2**40:.1f} TiB |"
        )
    return lines


def needed(utilisation: float) -> str:
    """The engine's rate beside what the GPUs can ask of it."""
    each = sum(Bagel().seconds(utilisation).values())
    asked = ", ".join(f"{g} GPUs {g / each:.0f}" for g in GPUS)
    return f"candidates/s that GPUs make: {asked}; that two cores pass on: {MEASURED['through workers']:.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--utilisation", type=float, default=0.3)
    parser.add_argument("--price", type=float, default=2.5, help="dollars an hour of one GPU")
    args = parser.parse_args()
    print("\n".join(loop(args.utilisation, args.price)))
    print(seconds_line(args.utilisation))
    print(needed(args.utilisation))
    print("\n".join(table(args.utilisation, args.price)))


if __name__ == "__main__":
    main()
