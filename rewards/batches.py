"""Batching for judges of pictures: decode, set aside what cannot be judged, judge the rest in batches.

Only one batch of pictures is decoded at a time, so memory does not grow with the number of samples.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from datagen.sample import Sample, Score
from rewards.base import NO_IMAGE, Card, open_image

if TYPE_CHECKING:
    from PIL.Image import Image

Judge = Callable[[list["Image"], list[Sample]], Sequence[Score]]


def score_images(
    name: str, card: Card, samples: Sequence[Sample], judge: Judge, batch_size: int | None = None
) -> list[Score]:
    """``judge`` over the samples that have a readable picture, ``batch_size`` at a time; order is kept.

    A sample without a picture gets the scale's bottom (None where there is none), an unreadable one
    None with the reason.
    """
    size = batch_size or card.batch_size
    done: dict[int, Score] = {}
    waiting: list[tuple[int, Image]] = []

    def flush() -> None:
        rows = [i for i, _ in waiting]
        scores = judge([picture for _, picture in waiting], [samples[i] for i in rows])
        done.update(zip(rows, scores, strict=True))
        waiting.clear()

    for i, sample in enumerate(samples):
        if sample.image is None:
            done[i] = Score(name, card.low, NO_IMAGE)
            continue
        try:
            waiting.append((i, open_image(sample.image)))
        except ValueError as error:
            done[i] = Score(name, None, str(error))
        if len(waiting) == size:
            flush()
    if waiting:
        flush()
    return [done[i] for i in range(len(samples))]
