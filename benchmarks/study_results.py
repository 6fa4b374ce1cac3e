"""What the study's files say: paired differences with their intervals, for the page and its plots."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.arms import Arm

DRAWS = 4000
Row = Mapping[str, Any]
Found = Mapping[tuple[str, str], Mapping[int, Row]]  # (axis, arm) -> seed -> row


@dataclass(frozen=True)
class Change:
    mean: float
    low: float
    high: float
    p: float

    def __str__(self) -> str:
        return f"{100 * self.mean:+.1f} ({100 * self.low:+.1f} to {100 * self.high:+.1f})"


def load(folder: Path) -> dict[tuple[str, str], dict[int, Row]]:
    """(axis, arm) -> seed -> row; baselines are of the axis ``baseline`` and seed 0."""
    found: dict[tuple[str, str], dict[int, Row]] = {}
    for path in sorted(folder.glob("*.json")):
        row = json.loads(path.read_text(encoding="utf-8"))
        found.setdefault((row["axis"], row["arm"]), {})[row.get("seed", 0)] = row
    return found


def change(
    before: Sequence[Row], after: Sequence[Row], parts: Sequence[str], only: Sequence[str] = ()
) -> Change:
    """The mean over ``parts`` of the mean over categories (``only`` those), paired by prompt and by seed.

    ``before`` has one row for each of ``after``, or one for all.
    """
    befores = list(before) * (len(after) // len(before))
    rng = np.random.default_rng(0)
    seeds = rng.integers(0, len(after), (DRAWS, len(after)))
    means, draws = [], []
    for part in parts:
        categories = [c for c in after[0]["parts"][part] if not only or c in only]
        for category in categories:
            delta = np.array([a["parts"][part][category] for a in after]) - np.array(
                [b["parts"][part][category] for b in befores]
            )  # [seeds, prompts]
            prompts = rng.integers(0, delta.shape[1], (DRAWS, delta.shape[1]))
            share = 1 / (len(parts) * len(categories))
            means.append(share * delta.mean())
            draws.append(share * delta[seeds[:, :, None], prompts[:, None, :]].mean((1, 2)))
    drawn = np.sum(draws, axis=0)
    low, high = np.quantile(drawn, [0.025, 0.975])
    p = min(1.0, 2 * max(min((drawn <= 0).mean(), (drawn >= 0).mean()), 1 / DRAWS))
    return Change(float(np.sum(means)), float(low), float(high), float(p))


def level(rows: Sequence[Row], part: str) -> float:
    return float(np.mean([[np.mean(scores) for scores in row["parts"][part].values()] for row in rows]))


def paired(one: Mapping[int, Row], other: Mapping[int, Row]) -> tuple[list[Row], list[Row]]:
    """Rows of the seeds that both have."""
    both = sorted(one.keys() & other.keys())
    return [one[s] for s in both], [other[s] for s in both]


def baseline(arm: Arm, found: Found) -> list[Row]:
    """The untrained model, sampled as the arm is."""
    name = "untrained" if arm.cfg is None else f"untrained, tested at {arm.cfg:g}"
    if arm.refined:
        name = "untrained, refined prompt"
    return [found["baseline", name if arm.trace else "untrained, no trace"][0]]
