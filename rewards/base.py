"""What a reward is: a name and ``score(samples) -> list[Score]``, one score a sample, in order.

``value`` None means "could not judge": the sample is excluded, never scored 0. A picture that was
never drawn is a failure of the model, not of the judge, and scores 0.
"""

import io
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from datagen.sample import Sample, Score


class RewardFunction(Protocol):
    """A judge. ``heldout`` judges are for evaluation and refuse to be used for weighting."""

    name: str
    heldout: bool

    def score(self, samples: Sequence[Sample]) -> list[Score]: ...


def pixels(image: bytes) -> np.ndarray:
    """PNG bytes to [H, W, 3] uint8. Raises ``ValueError`` for what is not a small image."""
    from PIL import Image, UnidentifiedImageError

    try:
        picture = Image.open(io.BytesIO(image))
        if picture.width * picture.height > 4096 * 4096:
            raise ValueError(f"image of {picture.width} x {picture.height} px is larger than 4096 x 4096")
        return np.asarray(picture.convert("RGB"))
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise ValueError(f"not a readable image: {error}") from error
