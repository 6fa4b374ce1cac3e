"""VQA judges: the target's atoms as questions, P(expected answer) from a model that looks.

``vqa`` asks another model, ``self_vqa`` the unified model that drew the picture (cheap, and biased
towards itself: never the only judge). Per-atom probabilities with DSG's dependencies are aggregated as
Soft-TIFA: the geometric mean (GenEval 2's figure for a prompt: one wrong atom counts) or the mean. A
prompt without a target is asked as a whole (VQAScore).
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from datagen.errors import InputError
from datagen.sample import Sample, Score
from rewards.atoms import Atom, atoms, combine
from rewards.base import Card, readable
from rewards.batches import score_images
from rewards.vlm import Answers, load_vlm

if TYPE_CHECKING:
    from PIL.Image import Image

AGGREGATES = ("geometric", "mean")
CERTAIN = 0.5  # from this probability on an atom holds
DEFAULT = "transformers:Qwen/Qwen3-VL-8B-Instruct"


def asked(sample: Sample) -> tuple[Atom, ...]:
    """The atoms of a sample's target, or its prompt as one question."""
    found = atoms(sample.target)
    if not found and (prompt := readable(sample.prompt, 1000)):
        found = (Atom(f'Does this image show "{prompt}"? Answer yes or no.', ("yes",), "prompt"),)
    return tuple(_briefly(a) for a in found)


def _briefly(atom: Atom) -> Atom:
    """The question with the form of answer that it wants, which chat models need to be told."""
    if atom.kind == "prompt":
        return atom
    form = (
        "yes or no" if atom.answers[0] in ("yes", "no") else "a number" if atom.kind == "count" else "a word"
    )
    return Atom(f"{atom.question} Answer with {form}.", atom.answers, atom.kind, atom.needs)


def chances(
    vlm: Answers, images: "Sequence[Image | None]", questions: Sequence[Sequence[Atom]]
) -> list[list[float | None]]:
    """P(expected answer) of every atom of every image, in one call; spellings are added up."""
    rows = [
        (n, k, spelling)
        for n, some in enumerate(questions)
        for k, atom in enumerate(some)
        for spelling in atom.answers
    ]
    out: list[list[float | None]] = [[0.0] * len(some) for some in questions]
    found = vlm.answer(
        [images[n] for n, _, _ in rows],
        [questions[n][k].question for n, k, _ in rows],
        [s for _, _, s in rows],
    )
    for (n, k, _), p in zip(rows, found, strict=True):
        so_far = out[n][k]
        # One spelling that could not be told leaves the sum of the others as a lower bound: not enough.
        out[n][k] = None if p is None or so_far is None else min(so_far + p, 1.0)
    return out


def verdict(name: str, some: Sequence[Atom], found: Sequence[float | None], aggregate: str) -> Score:
    """One image's score from its atoms' probabilities."""
    known = [p for p in found if p is not None]
    if len(known) < len(found):
        lost = next(a for a, p in zip(some, found, strict=True) if p is None)
        return Score(name, None, f"no probability for the answer {lost.answers[0]!r} to {lost.question!r}")
    held = combine(some, known, CERTAIN)
    if aggregate == "geometric":
        value = 0.0 if min(held) <= 0 else math.exp(sum(map(math.log, held)) / len(held))
    else:
        value = sum(held) / len(held)
    failed = [
        f"{a.question} P({a.answers[0]}) = {p:.2f}" for a, p in zip(some, held, strict=True) if p < CERTAIN
    ]
    details = {"atoms": [[a.question, a.answers[0], p, h] for a, p, h in zip(some, known, held, strict=True)]}
    return Score(name, value, "\n".join(failed), details)


class Vqa:
    name = "vqa"
    heldout = False
    card = Card(
        ("prompt", "target", "image"), "probability, aggregated over atoms", "the model's: Apache-2.0 for Qwen3-VL",
        memory_gib=20.0, batch_size=16, checkpoint=DEFAULT,
    )  # fmt: skip

    def __init__(
        self,
        model: str = DEFAULT,
        aggregate: str = "geometric",
        batch_size: int | None = None,
        vlm: Answers | None = None,
    ) -> None:
        """``model``: ``transformers:NAME``, ``vllm:NAME`` or ``openai:NAME@URL``; ``vlm`` is for tests."""
        if aggregate not in AGGREGATES:
            raise InputError(f"reward {self.name!r}: aggregate {aggregate!r}; valid: {', '.join(AGGREGATES)}")
        self.aggregate, self.batch_size = aggregate, batch_size or self.card.batch_size
        self.vlm = vlm if vlm is not None else self._load(model)

    def _load(self, model: str) -> Answers | None:
        return load_vlm(model)

    def score(self, samples: Sequence[Sample]) -> list[Score]:
        questions: list[tuple[Atom, ...]] = []
        refused: dict[int, str] = {}
        for i, sample in enumerate(samples):
            try:
                questions.append(asked(sample))
                if not questions[-1]:
                    refused[i] = "neither prompt nor target asks for anything"
            except ValueError as error:
                questions.append(())
                refused[i] = str(error)
        fine = [i for i in range(len(samples)) if i not in refused]

        def judge(images: "list[Image]", batch: list[Sample]) -> list[Score]:
            some = [asked(s) for s in batch]
            found = chances(self._judge_model(), images, some)
            return [verdict(self.name, a, p, self.aggregate) for a, p in zip(some, found, strict=True)]

        scores = score_images(self.name, self.card, [samples[i] for i in fine], judge, self.batch_size)
        done = {i: Score(self.name, None, why) for i, why in refused.items()}
        done |= dict(zip(fine, scores, strict=True))
        return [done[i] for i in range(len(samples))]

    def _judge_model(self) -> Answers:
        assert self.vlm is not None
        return self.vlm


class SelfVqa(Vqa):
    """The unified model as its own judge. The build hands it the model (``bind``)."""

    name = "self_vqa"
    card = Card(
        ("prompt", "target", "image"), "probability, aggregated over atoms", "the model's own", batch_size=16
    )

    def _load(self, model: str) -> Answers | None:
        return None

    def bind(self, model: Any) -> None:
        """Judge with ``model``. Raises ``InputError`` for one that cannot look at pictures."""
        if not callable(getattr(model, "answer", None)):
            raise InputError(
                f"reward 'self_vqa': model {getattr(model, 'name', model)!r} cannot look at pictures "
                "(it has no method answer(images, questions, expected)); use 'vqa' with another model"
            )
        self.vlm = model

    def _judge_model(self) -> Answers:
        if self.vlm is None:
            raise InputError("reward 'self_vqa' has no model yet: it judges with the model that is built for")
        return self.vlm
