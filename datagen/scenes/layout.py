"""A layout: which object sits in which cell. Scenes are drawn from it, and traces are it, in words.

The trace grammar is one line: ``small red circle top left ; blue square middle right`` and, for
lettering, ``red text bottom C one A two T three``: a letter has its row before it and its place behind it, so that
a picture's patch finds it by content, as it finds a shape. Relations follow GenEval's rule on the cells'
centres: left of means the normalised offset points left by more than one half, so a diagonal neighbour
is both.
"""

import random
from collections.abc import Sequence
from math import hypot
from typing import NamedTuple

from datagen.sample import Clause, Target
from datagen.scenes.vocabulary import CELLS, COLORS, GRID, NUMBERS, ROWS, SHAPES, SIZES

LONGEST = max(NUMBERS)  # letters of a word


class Placed(NamedTuple):
    """One drawn thing: a shape in a cell (0..8, row-major), or a word in a row (``cell`` = 0..2)."""

    shape: str
    color: str
    cell: int
    size: str | None = None  # None: large, but the prompt did not say so
    word: str = ""

    @property
    def row(self) -> int:
        return self.cell if self.word else self.cell // GRID

    @property
    def column(self) -> int:
        return 1 if self.word else self.cell % GRID


def format_layout(placed: Sequence[Placed]) -> str:
    """The trace that describes ``placed``."""
    parts = []
    for p in placed:
        if p.word:
            parts.append(f"{p.color} text {ROWS[p.cell]} {_spell(p.word)}")
        else:
            parts.append(f"{'small ' if p.size == 'small' else ''}{p.color} {p.shape} {CELLS[p.cell]}")
    return " ; ".join(parts)


def _spell(word: str) -> str:
    """``C one A two T three``; words, not digits, since they are a token each and decode as they were."""
    return " ".join(f"{letter} {NUMBERS[i]}" for i, letter in enumerate(word, 1))


def _parse_part(part: str) -> Placed | None:
    words = part.split()
    if len(words) >= 5 and words[0] in COLORS and words[1] == "text" and words[2] in ROWS:
        word = "".join(words[3::2])
        spelled = word.isalpha() and len(word) <= LONGEST and " ".join(words[3:]) == _spell(word)
        return Placed("text", words[0], ROWS.index(words[2]), word=word.upper()) if spelled else None
    size = words.pop(0) if words and words[0] in SIZES else None
    cell = " ".join(words[2:])
    if len(words) != 4 or words[0] not in COLORS or words[1] not in SHAPES or cell not in CELLS:
        return None
    return Placed(words[1], words[0], CELLS.index(cell), size or "large")


def parse_layout(trace: str) -> list[Placed] | None:
    """The inverse of ``format_layout``; None if any part is not in the grammar or a cell is used twice."""
    placed = [_parse_part(part) for part in trace.split(";")]
    found = [p for p in placed if p is not None]
    if len(found) != len(placed):
        return None
    cells = [p.cell for p in found if not p.word]
    return found if len(set(cells)) == len(cells) else None


TOWARDS = {"left of": (-1, 0), "right of": (1, 0), "above": (0, -1), "below": (0, 1)}  # x, y


def related(a: tuple[float, float], relation: str, b: tuple[float, float], cut: float = 0.5) -> bool:
    """Whether point ``a`` (x, y; y grows downwards) stands in ``relation`` to ``b``."""
    dx, dy = a[0] - b[0], a[1] - b[1]
    norm = hypot(dx, dy)
    if norm == 0:
        return False
    across, down = TOWARDS[relation]
    return (across * dx + down * dy) / norm > cut


class Seen(NamedTuple):
    """One object that a verifier, a judge or a layout reports: centre in any consistent unit."""

    cls: str
    color: str
    size: str
    x: float
    y: float


def _matches(seen: Seen, clause: Clause) -> bool:
    return (
        seen.cls == clause.cls
        and (clause.color is None or seen.color == clause.color)
        and (clause.size is None or seen.size == clause.size)
    )


def check(seen: Sequence[Seen], words: Sequence[str], target: Target) -> tuple[int, int, list[str]]:
    """Count the target's atoms that hold: ``(passed, total, reasons for the failed ones)``.

    GenEval's rules: presence is *at least* ``count``; an ``exclude`` clause bounds it from above; a
    relation holds if some pair of matching objects stands in it. Reasons use GenEval's wording.
    """
    passed, total, reasons = 0, 0, []
    matched: list[list[Seen]] = []
    for clause in target.include:
        total += 1
        found = [s for s in seen if _matches(s, clause)]
        matched.append(found)
        if len(found) >= clause.count:
            passed += 1
        else:
            label = " ".join(x for x in (clause.size, clause.color, clause.cls) if x)
            reasons.append(f"expected {label}>={clause.count}, found {len(found)}")
        if clause.position:
            total += 1
            relation, other = clause.position
            other_cls = target.include[other].cls
            if not matched[other]:
                reasons.append(f"no target for {clause.cls} to be {relation}")
            elif any(
                related((a.x, a.y), relation, (b.x, b.y)) for a in found for b in matched[other] if a is not b
            ):
                passed += 1
            elif found:
                reasons.append(f"expected {clause.cls} {relation} target, found no such pair ({other_cls})")
    for clause in target.exclude:
        total += 1
        found = [s for s in seen if _matches(s, clause)]
        if len(found) < clause.count:
            passed += 1
        else:
            reasons.append(f"expected {clause.cls}<{clause.count}, found {len(found)}")
    for word in target.text:
        total += 1
        if word.upper() in words:
            passed += 1
        else:
            reasons.append(f"expected text {word.upper()[:80]!r}, found {' '.join(words) or 'none'}")
    return passed, total, reasons


def layout_satisfies(placed: Sequence[Placed], target: Target) -> tuple[bool, str]:
    """Whether a layout satisfies a target, with the reason when not."""
    seen = [
        Seen(p.shape, p.color, p.size or "large", float(p.column), float(p.row)) for p in placed if not p.word
    ]
    passed, total, reasons = check(seen, [p.word for p in placed if p.word], target)
    return passed == total, "; ".join(reasons)


def layout_for(target: Target, rng: random.Random, attempts: int = 200) -> list[Placed]:
    """A random layout that satisfies ``target``. Raises ``ValueError`` if no try succeeded.

    Few ``attempts`` leave out what hardly comes out by chance, which pretraining's captions and targets do.
    """
    fits = sum(c.count for c in target.include) <= GRID * GRID
    for _ in range(attempts if fits else 0):
        cells = rng.sample(range(GRID * GRID), GRID * GRID)
        placed = [
            Placed(
                c.cls if c.cls in SHAPES else rng.choice(SHAPES),
                c.color or color,
                cells.pop(),
                c.size,
            )
            for c in target.include
            for color in [rng.choice(tuple(COLORS))]
            for _ in range(c.count)
        ]
        placed += [
            Placed("text", rng.choice(tuple(COLORS)), rng.randrange(len(ROWS)), word=w.upper())
            for w in target.text
        ]
        if layout_satisfies(placed, target)[0]:
            return placed
    raise ValueError(f"no layout satisfies {target.key}")
