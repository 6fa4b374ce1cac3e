"""What a new prompt must pass while a build is being written: ``prompts.Guard`` with FAISS behind it.

Each prompt is held against the evaluation prompts and against those written before it, so that one that
falls is replaced and not merely dropped. Left out: pictures, which are ``dedupe``'s after scoring.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from datagen.decontaminate import NEAR, Dropped, Evaluation, normalise
from datagen.embedding import DIMENSION, SparseRows, TextSpace, prompt_vector, words_vector
from datagen.neighbours import Index
from datagen.prompts.write import REGION_FULL
from datagen.recipe import Dedupe
from datagen.regions import Regions
from datagen.sample import Sample
from datagen.spill import Digests, Spilled, Texts

NEAR_DUPLICATE = "near-duplicate"
SHOWN = 100  # dropped prompts of each reason that the report names
COMPARED = 2000  # prompts that tell how alike all are


class EvaluationIndex:
    """The evaluation prompts, embedded and searched: the ``nearest`` of ``decontaminate``."""

    def __init__(self, evaluation: Evaluation) -> None:
        self.evaluation, self.prompts = evaluation, evaluation.prompts
        self.space = TextSpace(self.prompts)
        self.index = Index(self.space.dimension)
        if self.prompts:
            self.index.add(self.space.vectors(self.prompts))

    def nearest(self, prompts: Sequence[str]) -> list[tuple[str, float]]:
        if not self.prompts:
            return [("", 0.0)] * len(prompts)
        similarities, numbers = self.index.nearest(self.space.vectors(prompts))
        return [(self.prompts[n], float(s)) for n, s in zip(numbers[:, 0], similarities[:, 0], strict=True)]


class Said:
    """Every prompt of a build by its words, and the recipe that it was written for."""

    def __init__(self, folder: Path | None = None) -> None:
        self.numbers, self.recipes = Digests(folder), list[str]()

    def recipe_of(self, prompt: str) -> str | None:
        number = self.numbers.get(normalise(prompt))
        return None if number is None else self.recipes[number]

    def add(self, sample: Sample) -> None:
        if sample.recipe not in self.recipes:
            self.recipes.append(sample.recipe)
        self.numbers.add(normalise(sample.prompt), self.recipes.index(sample.recipe))


class PromptGuard:
    """``prompts.Guard`` of one recipe: what has been written, and what must not be.

    A prompt is refused when it overlaps evaluation, when its region is full, and when one of its target
    (or, word for word, any of the build) is near it. A region is what lies within ``settings.region`` of
    a target's words; it is full at ``settings.crowd`` of the recipe's ``n`` prompts, or four. What it
    remembers of each prompt, half a kilobyte, is in scratch files in ``folder``.
    """

    def __init__(
        self,
        evaluation: EvaluationIndex,
        settings: Dedupe,
        n: int,
        said: Said | None = None,
        folder: Path | None = None,
    ) -> None:
        """``said``: the prompts of a build's earlier recipes; it is added to."""
        self.evaluation, self.settings = evaluation, settings
        self.most = max(4, round(settings.crowd * n)) if settings.crowd else None
        self.said = said if said is not None else Said(folder)
        self.prompts = Texts(folder)  # those that were kept
        self.dropped: dict[str, list[Dropped]] = {}  # by reason, the first of each
        self.regions = Regions(settings.region, folder)
        self.wordings = SparseRows(folder)
        # A near-duplicate asks the same: the last prompt of each target, and of each prompt the one before it.
        self.last_of, self.before = Digests(folder), Spilled(np.int64, folder)

    @property
    def targets(self) -> int:
        """Distinct ones that prompts were kept for."""
        return len(self.last_of)

    def full(self, phrases: Sequence[str]) -> list[bool]:
        if self.most is None or not phrases:
            return [False] * len(phrases)
        vectors = np.stack([words_vector(p) for p in phrases])
        return [found >= self.most for found in self.regions.around(vectors)]

    def refuse(self, samples: Sequence[Sample], phrases: Sequence[str]) -> list[str]:
        wording = np.stack([prompt_vector(s.prompt) for s in samples])
        if self.most is not None:
            asked = np.stack([words_vector(p) for p in phrases])
            near_regions = self.regions.around(asked)
        near_evaluation = self.evaluation.nearest([s.prompt for s in samples])
        causes: list[str] = []
        fresh: list[int] = []  # of this batch, kept so far
        for i, sample in enumerate(samples):
            reason, like = self.evaluation.evaluation.overlap(sample)
            similarity: float | None = None
            if not reason and near_evaluation[i][1] >= self.settings.evaluation:
                reason, (like, similarity) = NEAR, near_evaluation[i]
            if not reason:
                same = self._of_target(sample.target.key)
                alike = self.wordings.similarities(wording[i], same) if same else np.zeros(1)
                if (highest := float(alike.max())) >= self.settings.prompts:
                    twin = self.prompts[same[int(alike.argmax())]]
                    reason, like, similarity = NEAR_DUPLICATE, twin, highest
                elif (other := self.said.recipe_of(sample.prompt)) is not None:
                    reason, like = f"{NEAR_DUPLICATE} in recipe {other}", sample.prompt
            if not reason and self.most is not None:
                beside = sum(float(asked[i] @ asked[j]) >= self.settings.region for j in fresh)
                if near_regions[i] + beside >= self.most:
                    reason, like = REGION_FULL, phrases[i]
            causes.append(reason)
            if reason:
                some = self.dropped.setdefault(reason, [])
                if len(some) < SHOWN:
                    some.append(Dropped(sample.prompt, reason, like, similarity))
            else:
                fresh.append(i)
                self._keep(sample, wording[i])
        if self.most is not None:
            for i in fresh:
                self.regions.add(phrases[i], asked[i])
        return causes

    def _of_target(self, key: str) -> list[int]:
        """The numbers of the kept prompts of one target, in order."""
        numbers: list[int] = []
        last = self.last_of.get(key)
        number = -1 if last is None else last
        while number >= 0:
            numbers.append(number)
            number = self.before.room.item(number)
        return numbers[::-1]

    def _keep(self, sample: Sample, wording: np.ndarray) -> None:
        last = self.last_of.get(sample.target.key)
        self.before.append(-1 if last is None else last)
        self.last_of.add(sample.target.key, self.prompts.add(sample.prompt))
        self.wordings.add(wording)
        self.said.add(sample)

    def survivors(self) -> list[Dropped]:
        """What was dropped, the first of each reason, with the nearest prompt that stayed."""
        some = [one for ones in self.dropped.values() for one in ones]
        if not len(self.prompts):
            return some
        return [
            replace(one, survivor=self.prompts[self.wordings.nearest(prompt_vector(one.prompt))])
            for one in some
        ]


def self_similarity(prompts: Texts | Sequence[str]) -> dict[str, float]:
    """How alike prompts are: ``mean`` over all pairs, ``nearest`` over each one's nearest other.

    Of many prompts ``COMPARED`` are taken, at equal distances.
    """
    if len(prompts) < 2:
        return {"mean": 0.0, "nearest": 0.0}
    step = max(1, len(prompts) / COMPARED)
    some = [prompts[int(i * step)] for i in range(int(len(prompts) / step))]
    vectors = np.stack([prompt_vector(p) for p in some])
    n = len(vectors)
    total = vectors.sum(0, dtype=np.float64)
    index = Index(DIMENSION)
    index.add(vectors)
    similarities, _ = index.nearest(vectors, 2)
    return {"mean": float((total @ total - n) / (n * (n - 1))), "nearest": float(similarities[:, 1].mean())}
