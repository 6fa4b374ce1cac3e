"""Judges: batched against one at a time, and OCR for real: ``python -m benchmarks.rewards``.

Throughput is measured on tiny random models (``benchmarks.tiny``) on one CPU thread, where what a batch
saves is the overhead of a call; on a GPU it saves more. "One at a time" is one picture a call, and for
questions one question about one picture a call, so that nothing is shared. The two must agree.
"""

import argparse
import contextlib
import io
import os
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from datagen.sample import Clause, Sample, Score, Target

WORDS = [
    "open",
    "fresh",
    "bread",
    "sale",
    "coffee",
    "time",
    "hello",
    "world",
    "central",
    "park",
    "2024",
    "no",
    "smoking",
    "welcome",
    "home",
    "library",
    "street",
    "market",
    "museum",
    "exit",
    "winter",
    "garden",
    "happy",
    "birthday",
    "to",
    "our",
    "friends",
    "grand",
    "hotel",
    "jazz",
    "night",
    "music",
    "festival",
    "ocean",
    "42",
    "blue",
    "moon",
]
TARGET = Target("color_attr", (Clause("cup", color="red"), Clause("dog", 2, "blue", position=("left of", 0))))


def png(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def rendered(rng: random.Random, side: int = 256) -> tuple[str, bytes]:
    """One to three words in a random case, size, place and pair of colours, and their picture."""
    text = " ".join(rng.choice(WORDS) for _ in range(rng.randint(1, 3)))
    text = rng.choice([str.upper, str.title, str.lower])(text)
    image = Image.new(
        "RGB", (side, side), (rng.randint(180, 255), rng.randint(180, 255), rng.randint(180, 255))
    )
    ink = (rng.randint(0, 80), rng.randint(0, 80), rng.randint(0, 80))
    font = ImageFont.load_default(size=rng.randint(15, 21))
    ImageDraw.Draw(image).text((8, rng.randint(20, side - 50)), text, font=font, fill=ink)
    return text, png(image)


def pictures(groups: int, k: int, side: int = 32) -> list[Sample]:
    """``groups`` prompts of ``k`` candidates, noise of the side that the tiny models read."""
    rng = np.random.default_rng(0)
    return [
        Sample(
            f"a photo of a red cup and two blue dogs {g}", TARGET, id=f"{g}/{i}", group_id=str(g), trace="a red cup",
            image=png(Image.fromarray(rng.integers(0, 255, (side, side, 3), dtype=np.uint8))),
        )
        for g in range(groups)
        for i in range(k)
    ]  # fmt: skip


class OneQuestion:
    """A model that looks, asked one question about one picture a call, its prefix run anew each time."""

    def __init__(self, vlm: Any) -> None:
        self.vlm = vlm

    def answer(
        self, images: Sequence[Any], questions: Sequence[str], expected: Sequence[str]
    ) -> list[float | None]:
        rows = zip(images, questions, expected, strict=True)
        return [self.vlm.answer([i], [q], [e])[0] for i, q, e in rows]


def one_by_one(reward: Any, samples: Sequence[Sample]) -> list[Score]:
    """The same judge without batching and without sharing."""
    vlm = getattr(reward, "vlm", None)
    if vlm is not None:
        reward.vlm = OneQuestion(vlm)
    try:
        return [reward.score([s])[0] for s in samples]
    finally:
        if vlm is not None:
            reward.vlm = vlm


def timed(run: Callable[[], list[Score]], rounds: int) -> tuple[float, list[Score]]:
    best, scores = float("inf"), []
    for _ in range(rounds):
        began = time.perf_counter()
        scores = run()
        best = min(best, time.perf_counter() - began)
    return best, scores


def throughput(groups: int, k: int, rounds: int) -> None:
    from benchmarks.tiny import TINY
    from rewards import load_reward

    samples = pictures(groups, k)
    print(
        f"{len(samples)} pictures ({groups} prompts x {k}), tiny random models, one thread, best of {rounds}:"
    )
    print(f"  {'reward':<24}{'one at a time':>16}{'batched':>12}{'ratio':>8}")
    for name, make in TINY.items():
        with tempfile.TemporaryDirectory() as folder:
            with contextlib.redirect_stderr(io.StringIO()):  # the loading bars
                reward: Any = load_reward(name.split("/")[0], make(Path(folder)))
            if name.startswith("objects"):  # random confidences: let about one object a picture pass
                least = {"objects": 0.25}.get(name, 0.01)
                reward.detector.thresholds = replace(reward.detector.thresholds, score=least, counting=least)
            compare(name, reward, samples, rounds)


def compare(name: str, reward: Any, samples: Sequence[Sample], rounds: int) -> None:
    reward.score(samples[:2])  # what is loaded on first use
    slow, alone = timed(lambda: one_by_one(reward, samples), rounds)
    fast, together = timed(lambda: reward.score(samples), rounds)
    apart = max(abs((a.value or 0) - (b.value or 0)) for a, b in zip(alone, together, strict=True))
    if apart > 1e-4:
        raise SystemExit(f"{name}: batched and single values differ by {apart:.2g}")
    n = len(samples)
    print(f"  {name:<24}{n / slow:>12.0f} /s {n / fast:>8.0f} /s {slow / fast:>7.1f}", flush=True)


def ocr(strings: int, side: int) -> None:
    from rewards.text import Text

    rng = random.Random(0)
    made = [rendered(rng) for _ in range(strings)]
    reader = Text(side=side)
    began = time.perf_counter()
    right = reader.score([Sample("p", Target("text", text=(t,)), image=i) for t, i in made])
    seconds = time.perf_counter() - began
    texts = [t for t, _ in made]
    others = [next(o for o in texts[i + 1 :] + texts if o.lower() != t.lower()) for i, t in enumerate(texts)]
    from rewards.spelling import spell

    wrong = [spell("text", (o,), s.details["read"]) for o, s in zip(others, right, strict=True)]
    good = sum((s.value or 0) >= 0.9 for s in right)
    bad = sum((s.value or 0) <= 0.5 for s in wrong)
    print(f"OCR of {strings} rendered strings, side {side}: {strings / seconds:.1f} pictures/s")
    print(
        f"  right string scored >= .9: {good / strings:.1%}; another string scored <= .5: {bad / strings:.1%}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--groups", type=int, default=4)
    parser.add_argument("--candidates", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--strings", type=int, default=200)
    parser.add_argument("--ocr-side", type=int, default=320)
    parser.add_argument("--only", choices=["throughput", "ocr"])
    args = parser.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    import torch

    torch.set_num_threads(1)
    if args.only != "ocr":
        throughput(args.groups, args.candidates, args.rounds)
    if args.only != "throughput":
        ocr(args.strings, args.ocr_side)


if __name__ == "__main__":
    main()
