"""Lettering in pocket scenes, read off the pixel font by template (``vision.read_words``).

Partial credit by edit distance where ``scenes`` says right or wrong; its held-out counterpart is
``letters``, a network that shares no code with it.
"""

from typing import TYPE_CHECKING

import numpy as np

from rewards.base import Card
from rewards.spelling import SpellingReward
from rewards.vision import read_words

if TYPE_CHECKING:
    from PIL.Image import Image


class Lettering(SpellingReward):
    name = "lettering"
    card = Card(
        ("prompt", "target", "image"), "1 - edit distance / length, mean over the words", "Apache-2.0, rules",
        batch_size=64,
    )  # fmt: skip

    def read(self, images: "list[Image]") -> list[list[str]]:
        return [read_words(np.asarray(image)) for image in images]
