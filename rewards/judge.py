"""The held-out judge: a small convolutional network that reads a scene cell by cell.

It shares no code and no failure mode with the verifier in ``vision.py``: trained on drawn scenes
(``python -m rewards.train_judge``), it answers for each of nine cells: empty or which shape, which
colour, which size. It is used to evaluate only; a recipe that weights by it is refused. It does not
read lettering. Weights ship in ``rewards/weights`` (safetensors).
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from datagen.sample import Sample, Score
from datagen.scenes.layout import Seen, check
from datagen.scenes.vocabulary import COLORS, GRID, SHAPES, SIZE_PX, SIZES
from rewards.base import NO_IMAGE, Card, pixels

WEIGHTS = Path(__file__).parent / "weights" / "judge.safetensors"
OUTPUTS = (len(SHAPES) + 1, len(COLORS), len(SIZES))  # logits a cell: empty + shapes, colours, sizes


class SceneNet(nn.Module):
    """[B, 3, 48, 48] in [-1, 1] to logits [B, 17, 3, 3]."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()

        def block(i: int, o: int, stride: int) -> list[nn.Module]:
            return [nn.Conv2d(i, o, 3, stride, 1, bias=False), nn.BatchNorm2d(o), nn.ReLU()]

        self.body = nn.Sequential(
            *block(3, width, 1),
            *block(width, width, 2),
            *block(width, 2 * width, 1),
            *block(2 * width, 2 * width, 2),
            *block(2 * width, 4 * width, 1),
            nn.Conv2d(4 * width, 4 * width, 4, 4),  # 12 x 12 to the 3 x 3 cells
            nn.ReLU(),
            nn.Conv2d(4 * width, sum(OUTPUTS), 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


def to_tensor(images: Sequence[np.ndarray]) -> Tensor:
    """[H, W, 3] uint8 images to [B, 3, H, W] in [-1, 1]."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 127.5 - 1


def decode(logits: Tensor) -> list[list[Seen]]:
    """Logits [B, 17, 3, 3] to the objects seen, at their cells' centres."""
    shape, color, size = logits.split(OUTPUTS, dim=1)
    shapes, colors, sizes = (x.argmax(1).flatten(1).tolist() for x in (shape, color, size))
    step = SIZE_PX / GRID
    return [
        [
            Seen(
                SHAPES[s - 1],
                tuple(COLORS)[c],
                SIZES[z],
                (cell % GRID + 0.5) * step,
                (cell // GRID + 0.5) * step,
            )
            for cell, (s, c, z) in enumerate(zip(*row, strict=True))
            if s > 0
        ]
        for row in zip(shapes, colors, sizes, strict=True)
    ]


class SceneJudge:
    name = "judge"
    heldout = True
    card = Card(
        ("target", "image"), "share of the target's atoms that hold", "Apache-2.0", batch_size=64,
        checkpoint="rewards/weights/judge.safetensors",
    )  # fmt: skip

    def __init__(self, weights: Path = WEIGHTS) -> None:
        from safetensors.torch import load_file

        self.net = SceneNet()
        self.net.load_state_dict(load_file(weights))
        self.net.eval()

    @torch.inference_mode()
    def see(self, images: Sequence[np.ndarray]) -> list[list[Seen]]:
        return decode(self.net(to_tensor(images)))

    def score(self, samples: Sequence[Sample]) -> list[Score]:
        """1.0 when every atom of the target holds; fractions below. Lettering is unscored (None)."""
        scores: dict[int, Score] = {}
        images: dict[int, np.ndarray] = {}
        for i, sample in enumerate(samples):
            if sample.target.text:
                scores[i] = Score(self.name, None, "this judge does not read lettering")
            elif sample.image is None:
                scores[i] = Score(self.name, 0.0, NO_IMAGE)
            else:
                try:
                    image = pixels(sample.image)
                except ValueError as error:
                    scores[i] = Score(self.name, None, str(error))
                    continue
                if image.shape != (SIZE_PX, SIZE_PX, 3):
                    reason = f"this judge knows {SIZE_PX} x {SIZE_PX} scenes, not {image.shape[1]} x {image.shape[0]}"
                    scores[i] = Score(self.name, None, reason)
                else:
                    images[i] = image
        if images:
            for i, seen in zip(images, self.see(list(images.values())), strict=True):
                passed, total, reasons = check(seen, [], samples[i].target)
                value = passed / total if total else None
                scores[i] = Score(self.name, value, "\n".join(reasons))
        return [scores[i] for i in range(len(samples))]
