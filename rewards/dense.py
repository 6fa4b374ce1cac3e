"""Dense scenes by atoms with dependencies, as DPG-Bench scores: an object that is missing has no colour.

Two readings of one rule: ``DenseVerifier`` sees by classical vision and weighs candidates, ``DenseJudge``
by the held-out network and evaluates. Value is the mean over ``rewards.atoms.atoms`` of the target.
"""

from collections.abc import Sequence

from datagen.sample import Clause, Sample, Score, Target
from datagen.scenes.layout import Seen, related
from datagen.scenes.vocabulary import SIZE_PX
from rewards.atoms import atoms, combine
from rewards.base import NO_IMAGE, Card, pixels
from rewards.judge import SceneJudge
from rewards.vision import objects


def holding(seen: Sequence[Seen], target: Target) -> list[float]:
    """[atoms] 1.0 for each atom of a scene's target that holds by itself, in the order of ``atoms``."""
    found = [[s for s in seen if s.cls == clause.cls] for clause in target.include]
    out: list[bool] = []
    for clause, some in zip(target.include, found, strict=True):
        out.append(len(some) >= 1 if clause.count == 1 else len(some) == clause.count)
        for field in ("color", "size"):
            if wanted := getattr(clause, field):
                out.append(sum(getattr(s, field) == wanted for s in some) >= clause.count)
    for clause, some in zip(target.include, found, strict=True):
        if clause.position:
            relation, other = clause.position
            ones = [s for s in some if _is(s, clause)]
            others = [s for s in found[other] if _is(s, target.include[other])]
            out.append(any(related((a.x, a.y), relation, (b.x, b.y)) for a in ones for b in others))
    counted = {c.cls: c.count for c in target.include if c.count > 1}
    for clause in target.exclude:
        if counted.get(clause.cls) != clause.count - 1:
            out.append(sum(_is(s, clause) for s in seen) < clause.count)
    return [float(x) for x in out]


def _is(seen: Seen, clause: Clause) -> bool:
    return seen.cls == clause.cls and clause.color in (None, seen.color) and clause.size in (None, seen.size)


def score_atoms(name: str, seen: Sequence[Seen], target: Target) -> Score:
    """The score of what was seen; None for a target that asks for lettering or for nothing."""
    if target.text:
        return Score(name, None, "lettering is no atom of a dense scene")
    asked = atoms(target)
    if not asked:
        return Score(name, None, "the target asks for nothing")
    held = combine(asked, holding(seen, target))
    reasons = [f"no: {a.question}" for a, h in zip(asked, held, strict=True) if h < 1]
    return Score(name, sum(held) / len(held), "\n".join(reasons), {"atoms": held})


class DenseVerifier:
    name = "dense"
    heldout = False
    card = Card(("target", "image"), "mean over atoms with dependencies", "Apache-2.0, rules", batch_size=64)

    def score(self, samples: Sequence[Sample]) -> list[Score]:
        return [self._one(sample) for sample in samples]

    def _one(self, sample: Sample) -> Score:
        if sample.image is None:
            return Score(self.name, 0.0, NO_IMAGE)
        try:
            image = pixels(sample.image)
        except ValueError as error:
            return Score(self.name, None, str(error))
        return score_atoms(self.name, objects(image), sample.target)


class DenseJudge:
    name = "dense_judge"
    heldout = True
    card = Card(
        ("target", "image"), "mean over atoms with dependencies", "Apache-2.0", batch_size=64,
        checkpoint="rewards/weights/judge.safetensors",
    )  # fmt: skip

    def __init__(self) -> None:
        self.judge = SceneJudge()

    def score(self, samples: Sequence[Sample]) -> list[Score]:
        return [self._one(sample) for sample in samples]

    def _one(self, sample: Sample) -> Score:
        if sample.image is None:
            return Score(self.name, 0.0, NO_IMAGE)
        try:
            image = pixels(sample.image)
        except ValueError as error:
            return Score(self.name, None, str(error))
        if image.shape != (SIZE_PX, SIZE_PX, 3):
            size = f"{image.shape[1]} x {image.shape[0]}"
            return Score(self.name, None, f"this judge knows {SIZE_PX} x {SIZE_PX} scenes, not {size}")
        return score_atoms(self.name, self.judge.see([image])[0], sample.target)
