"""The held-out judge of pocket lettering: a small network that reads the 8 x 8 lattice of letters.

It shares no code and no failure with ``lettering``'s templates; trained on drawn words by
``python -m rewards.train_letters``, it is used to evaluate only. Weights ship in ``rewards/weights``.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from datagen.scenes.draw import FONT, LETTER
from datagen.scenes.vocabulary import SIZE_PX
from rewards.base import Card
from rewards.spelling import SpellingReward

if TYPE_CHECKING:
    from PIL.Image import Image

WEIGHTS = Path(__file__).parent / "weights" / "letters.safetensors"
LATTICE = SIZE_PX // LETTER  # cells a side
LETTERS = "".join(FONT)


class LetterNet(nn.Module):
    """[B, 3, 48, 48] in [-1, 1] to logits [B, 27, 8, 8]: no letter, or which."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()

        def block(i: int, o: int) -> list[nn.Module]:
            return [nn.Conv2d(i, o, 3, 1, 1, bias=False), nn.BatchNorm2d(o), nn.ReLU()]

        self.body = nn.Sequential(
            *block(3, width),
            *block(width, width),
            nn.Conv2d(width, 4 * width, 8, LETTER, 1, bias=False),  # each cell with a pixel around it
            nn.BatchNorm2d(4 * width),
            nn.ReLU(),
            nn.Conv2d(4 * width, len(LETTERS) + 1, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


def decode(logits: Tensor) -> list[list[str]]:
    """[B, 27, 8, 8] to the words of each picture, top to bottom; a single letter is no word."""
    out = []
    for grid in logits.argmax(1).tolist():
        words = []
        for row in grid:
            text = "".join(LETTERS[i - 1] if i else " " for i in row)
            words += [word for word in text.split() if len(word) >= 2]
        out.append(words)
    return out


class LetterJudge(SpellingReward):
    name = "letters"
    heldout = True
    card = Card(
        ("prompt", "target", "image"), "1 - edit distance / length, mean over the words", "Apache-2.0",
        batch_size=64, checkpoint="rewards/weights/letters.safetensors",
    )  # fmt: skip

    def __init__(self, weights: Path = WEIGHTS) -> None:
        from safetensors.torch import load_file

        self.net = LetterNet()
        self.net.load_state_dict(load_file(weights))
        self.net.eval()

    def refuses(self, image: "Image") -> str:
        size = f"{image.width} x {image.height}"
        return (
            ""
            if image.size == (SIZE_PX, SIZE_PX)
            else f"this judge knows {SIZE_PX} x {SIZE_PX} scenes, not {size}"
        )

    @torch.inference_mode()
    def read(self, images: "list[Image]") -> list[list[str]]:
        if not images:
            return []
        batch = torch.from_numpy(np.stack([np.asarray(i) for i in images])).permute(0, 3, 1, 2)
        return decode(self.net(batch.float() / 127.5 - 1))
