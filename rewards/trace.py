"""Two judges of a trace: does the layout satisfy the target, and does the picture show the layout.

Together they place a fault in its modality: a trace that breaks the target is a fault of the text,
a picture that does not follow a right trace is a fault of the image.
"""

from collections.abc import Sequence

from datagen.sample import Sample, Score
from datagen.scenes.layout import Placed, Seen, check, parse_layout
from datagen.scenes.vocabulary import GRID, SIZE_PX
from rewards.base import NO_IMAGE, Card, pixels
from rewards.vision import objects, read_words


class TraceVerifier:
    """Fraction of the target's atoms that the layout trace satisfies; 0 for a trace that is no layout."""

    name = "trace"
    heldout = False
    card = Card(
        ("target", "trace"), "share of the target's atoms that hold", "Apache-2.0, rules", batch_size=64
    )

    def score(self, samples: Sequence[Sample]) -> list[Score]:
        return [self._one(sample) for sample in samples]

    def _one(self, sample: Sample) -> Score:
        if not sample.trace:
            return Score(self.name, None, "no trace was written")
        placed = parse_layout(sample.trace)
        if placed is None:
            return Score(self.name, 0.0, f"the trace is not a layout: {sample.trace[:80]!r}")
        seen = [
            Seen(p.shape, p.color, p.size or "large", float(p.column), float(p.row))
            for p in placed
            if not p.word
        ]
        passed, total, reasons = check(seen, [p.word for p in placed if p.word], sample.target)
        return Score(self.name, passed / total if total else None, "\n".join(reasons))


class FollowsTrace:
    """Agreement (F1) of the picture's objects with the trace's, matched by shape, colour and cell."""

    name = "follows"
    heldout = False
    card = Card(("trace", "image"), "F1 of objects", "Apache-2.0, rules", batch_size=64)

    def score(self, samples: Sequence[Sample]) -> list[Score]:
        return [self._one(sample) for sample in samples]

    def _one(self, sample: Sample) -> Score:
        if sample.image is None:
            return Score(self.name, 0.0, NO_IMAGE)
        placed = parse_layout(sample.trace) if sample.trace else None
        if placed is None:
            return Score(self.name, None, "no layout trace to follow")
        try:
            image = pixels(sample.image)
        except ValueError as error:
            return Score(self.name, None, str(error))
        said = [_key(p) for p in placed]
        shown = [(s.cls, s.color, s.size, _cell(s)) for s in objects(image)]
        words = [p.word for p in placed if p.word]
        if words:
            said = [x for x in said if x[0] != "text"]
            shown = []
            said += [("text", w, "", 0) for w in words]
            shown += [("text", w, "", 0) for w in read_words(image)]
        left = list(shown)
        hits = 0
        for item in said:
            if item in left:
                left.remove(item)
                hits += 1
        value = 2 * hits / (len(said) + len(shown)) if said or shown else 1.0
        missing = len(said) - hits
        reason = "" if value == 1 else f"{missing} of {len(said)} not shown, {len(left)} not in the trace"
        return Score(self.name, value, reason)


def _key(p: Placed) -> tuple[str, str, str, int]:
    return (p.shape, p.color, p.size or "large", p.cell)


def _cell(s: Seen) -> int:
    step = SIZE_PX / GRID
    return int(min(s.y // step, GRID - 1)) * GRID + int(min(s.x // step, GRID - 1))
