"""The scene verifier: classical vision against the target, GenEval's rules.

Value is the fraction of the target's atoms that hold, and 1.0 only when all do; extra objects that
the target does not name cost nothing unless it excludes them, as in GenEval. Scale [0, 1],
deterministic, no weights, microseconds an image.
"""

from collections.abc import Sequence

from datagen.sample import Sample, Score
from datagen.scenes.layout import check
from rewards.base import NO_IMAGE, Card, pixels
from rewards.vision import objects, read_words


class SceneVerifier:
    name = "scenes"
    heldout = False
    card = Card(
        ("target", "image"), "share of the target's atoms that hold", "Apache-2.0, rules", batch_size=64
    )

    def score(self, samples: Sequence[Sample]) -> list[Score]:
        return [self._one(sample) for sample in samples]

    def _one(self, sample: Sample) -> Score:
        if sample.image is None:
            return Score(self.name, 0.0, NO_IMAGE)
        try:
            image = pixels(sample.image)
        except ValueError as error:
            return Score(self.name, None, str(error))
        seen = objects(image)
        words = read_words(image) if sample.target.text else []
        passed, total, reasons = check(seen, words, sample.target)
        if not total:
            return Score(self.name, None, "the target asks for nothing")
        found = [f"{s.size} {s.color} {s.cls}" for s in seen]
        return Score(self.name, passed / total, "\n".join(reasons), {"found": found})
