"""Two judges of free-form traces, by the same models that judge pictures.

``trace_vqa``: does the plan satisfy the target (its atoms, asked about the plan's words, no picture).
``follows_vqa``: does the picture show what the plan says. Together they place a fault in its modality,
so that the text weight and the image weight can differ; layouts have exact ones in ``trace.py``.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from datagen.sample import Sample, Score
from rewards.atoms import Atom
from rewards.base import Card, readable
from rewards.batches import score_images
from rewards.pretrained import chunks
from rewards.vlm import Answers, load_vlm
from rewards.vqa import DEFAULT, asked, chances, verdict

if TYPE_CHECKING:
    from PIL.Image import Image

PLAN = 2000  # characters of a trace that are read


class TraceVqa:
    """Mean probability of the target's atoms in a picture drawn exactly as the trace says."""

    name = "trace_vqa"
    heldout = False
    card = Card(
        ("prompt", "target", "trace"), "probability, mean over atoms", "the model's: Apache-2.0 for Qwen3-VL",
        memory_gib=20.0, batch_size=16, checkpoint=DEFAULT,
    )  # fmt: skip

    def __init__(self, model: str = DEFAULT, vlm: Answers | None = None) -> None:
        self.vlm = vlm if vlm is not None else load_vlm(model)

    def score(self, samples: Sequence[Sample]) -> list[Score]:
        done: dict[int, Score] = {}
        waiting: list[tuple[int, tuple[Atom, ...]]] = []
        for i, sample in enumerate(samples):
            plan = readable(sample.trace, PLAN)
            if not plan:
                done[i] = Score(self.name, None, "no trace was written")
                continue
            try:
                some = asked(sample)
            except ValueError as error:
                done[i] = Score(self.name, None, str(error))
                continue
            if not some:
                done[i] = Score(self.name, None, "neither prompt nor target asks for anything")
                continue
            lead = f"A picture is drawn exactly by this plan: {plan}\n"
            waiting.append((i, tuple(Atom(lead + a.question, a.answers, a.kind, a.needs) for a in some)))
        for part in chunks(waiting, self.card.batch_size):
            found = chances(self.vlm, [None] * len(part), [some for _, some in part])
            for (i, some), p in zip(part, found, strict=True):
                done[i] = verdict(self.name, some, p, "mean")
        return [done[i] for i in range(len(samples))]


class FollowsVqa:
    """Probability that the picture follows its trace."""

    name = "follows_vqa"
    heldout = False
    card = Card(
        ("trace", "image"), "probability", "the model's: Apache-2.0 for Qwen3-VL", memory_gib=20.0, batch_size=16,
        checkpoint=DEFAULT,
    )  # fmt: skip

    def __init__(self, model: str = DEFAULT, vlm: Answers | None = None) -> None:
        self.vlm = vlm if vlm is not None else load_vlm(model)

    def score(self, samples: Sequence[Sample]) -> list[Score]:
        planned = [i for i, s in enumerate(samples) if readable(s.trace, PLAN)]
        scores = score_images(self.name, self.card, [samples[i] for i in planned], self._judge)
        done = dict(zip(planned, scores, strict=True))
        none = Score(self.name, None, "no trace to follow")
        return [done.get(i, none) for i in range(len(samples))]

    def _judge(self, images: "list[Image]", samples: list[Sample]) -> list[Score]:
        some = [
            (
                Atom(
                    f'Does this image follow the plan "{readable(s.trace, PLAN)}"? Answer yes or no.',
                    ("yes",),
                    "plan",
                ),
            )
            for s in samples
        ]
        found = chances(self.vlm, images, some)
        return [verdict(self.name, a, p, "mean") for a, p in zip(some, found, strict=True)]
