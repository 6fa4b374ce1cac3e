"""GenEval's rules on detections: which objects count, and whether they satisfy a target. Pure, no model.

The published script is mirrored, its edges too (Ghosh et al. 2023, djghosh13/geneval): scores strictly
above the threshold, at most 16 a class, colour and place judged on the ``count`` most confident only,
a place must hold for *every* pair, and a pair may stand in no relation at all. Reasons are worded as
there, so that weaknesses can be mined from both. Sizes are not part of it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from datagen.sample import Clause, Target

COLORS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white")
MOST = 16  # detections of one class that are looked at
POSITION = 0.1  # share of both objects' sizes by which a centre must be off
CUT = 0.5


@dataclass(frozen=True)
class Detection:
    """One found object: ``box`` (x0, y0, x1, y1) in px, confidence, and perhaps its mask [H, W] bool."""

    box: tuple[float, float, float, float]
    score: float
    mask: np.ndarray | None = None


Colors = Callable[[str, Sequence[Detection]], list[str]]  # (class, detections) -> a colour each


def overlap(a: Detection, b: Detection) -> float:
    """Intersection over union, with GenEval's inclusive pixels."""

    def area(x0: float, y0: float, x1: float, y1: float) -> float:
        return max(x1 - x0 + 1, 0) * max(y1 - y0 + 1, 0)

    inner = area(
        max(a.box[0], b.box[0]), max(a.box[1], b.box[1]), min(a.box[2], b.box[2]), min(a.box[3], b.box[3])
    )
    union = area(*a.box) + area(*b.box) - inner
    return inner / union if union else 0.0


def confident(found: Sequence[Detection], threshold: float, max_overlap: float = 1.0) -> list[Detection]:
    """The detections of one class that count, most confident first."""
    left = sorted((d for d in found if d.score > threshold), key=lambda d: -d.score)[:MOST]
    kept: list[Detection] = []
    for detection in left:
        if max_overlap >= 1 or all(overlap(detection, k) < max_overlap for k in kept):
            kept.append(detection)
    return kept


def relations(a: Detection, b: Detection) -> set[str]:
    """How ``a`` stands to ``b``: none, one or two of left of, right of, above, below."""
    one, other = np.array(a.box).reshape(2, 2), np.array(b.box).reshape(2, 2)
    offset = one.mean(0) - other.mean(0)
    sizes = np.abs(one[1] - one[0]) + np.abs(other[1] - other[0])
    clear = np.maximum(np.abs(offset) - POSITION * sizes, 0) * np.sign(offset)
    if np.all(np.abs(clear) < 1e-3):
        return set()
    dx, dy = clear / np.linalg.norm(offset)
    found = set()
    if dx < -CUT:
        found.add("left of")
    if dx > CUT:
        found.add("right of")
    if dy < -CUT:
        found.add("above")
    if dy > CUT:
        found.add("below")
    return found


@dataclass(frozen=True)
class Verdict:
    """GenEval's answer, and how many of the target's atoms hold: 1.0 exactly when ``correct``."""

    correct: bool
    reason: str
    passed: int
    total: int

    @property
    def value(self) -> float:
        return self.passed / self.total if self.total else 0.0


def judge(objects: Mapping[str, Sequence[Detection]], target: Target, colors: Colors) -> Verdict:
    """The verdict on ``objects`` (class -> ``confident`` detections).

    Atoms: presence, colour and place of each ``include``, the bound of each ``exclude``. An atom that
    GenEval does not reach because an earlier one failed counts as failed.
    """
    reasons: list[str] = []
    groups: list[Sequence[Detection] | None] = []
    passed = total = 0
    for clause in target.include:
        total += 1 + (clause.color is not None) + (clause.position is not None)
        found = list(objects.get(clause.cls, ()))[: clause.count]
        held, why = _clause(clause, found, groups, colors)
        passed += held
        if why:
            reasons.append(why)
        groups.append(None if why else found)
    for clause in target.exclude:
        total += 1
        count = len(objects.get(clause.cls, ()))
        if count < clause.count:
            passed += 1
        else:
            reasons.append(f"expected {clause.cls}<{clause.count}, found {count}")
    return Verdict(not reasons, "\n".join(reasons), passed, total)


def _clause(
    clause: Clause, found: list[Detection], groups: Sequence[Sequence[Detection] | None], colors: Colors
) -> tuple[int, str]:
    """Atoms of one clause that hold, and GenEval's reason if not all do."""
    cls, count = clause.cls, clause.count
    if len(found) < count:
        return 0, f"expected {cls}>={count}, found {len(found)}"
    held = 1
    if clause.color is not None:
        seen = colors(cls, found)
        right = seen.count(clause.color)
        if right < count:
            rest = ", ".join(f"{seen.count(c)} {c}" for c in COLORS if c in seen)
            return held, f"expected {clause.color} {cls}>={count}, found {right} {clause.color}; and {rest}"
        held += 1
    if clause.position is not None:
        relation, other = clause.position
        group = groups[other]
        if group is None:
            return held, f"no target for {cls} to be {relation}"
        for one in found:
            for two in group:
                if relation not in (true := relations(one, two)):
                    return (
                        held,
                        f"expected {cls} {relation} target, found {' and '.join(sorted(true))} target",
                    )
        held += 1
    return held, ""


def details(objects: Mapping[str, Sequence[Detection]]) -> dict[str, Any]:
    """What GenEval writes beside its verdict: class -> [x0, y0, x1, y1, score]."""
    return {cls: [[*map(float, d.box), float(d.score)] for d in found] for cls, found in objects.items()}
