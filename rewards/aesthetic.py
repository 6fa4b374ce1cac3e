"""LAION's improved aesthetic predictor (Schuhmann 2022): a small head on CLIP-L's image embedding.

Scale 1 to 10, mostly 4 to 7. Chosen for its licence (Apache-2.0 on MIT weights): version 2.5 of
another author is better and AGPL. Judges the picture alone, so it is a floor, never a target: alone it
rewards any pretty picture of something else.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from datagen.sample import Sample, Score
from rewards.base import Card
from rewards.batches import score_images
from rewards.pretrained import device_for, model_of, precision, pretrained

if TYPE_CHECKING:
    from PIL.Image import Image


def predictor_class() -> Any:
    """The network, made inside a function because transformers is imported late."""
    from transformers import CLIPVisionModelWithProjection

    class AestheticPredictor(CLIPVisionModelWithProjection):
        """CLIP's vision tower and five linear layers without activations, as they were trained."""

        def __init__(self, config: Any) -> None:
            super().__init__(config)
            sizes = (config.projection_dim, 1024, 128, 64, 16, 1)
            layers: list[nn.Module] = []
            for i, (inner, outer) in enumerate(pairwise(sizes)):
                layers.append(nn.Linear(inner, outer))
                if i < 3:  # the dropouts keep their places, for the names of the weights
                    layers.append(nn.Dropout(0.1))
            self.layers = nn.Sequential(*layers)
            self.post_init()

        def forward(self, pixel_values: torch.Tensor, **options: Any) -> torch.Tensor:
            embeds = super().forward(pixel_values, **options).image_embeds
            return self.layers(nn.functional.normalize(embeds.float(), dim=-1))[..., 0]

    return AestheticPredictor


class Aesthetic:
    name = "aesthetic"
    heldout = False
    card = Card(
        ("image",), "1 to 10, mostly 4 to 7", "Apache-2.0 (head), MIT (CLIP)", None, None, 1.5, 64,
        "shunk031/aesthetics-predictor-v2-sac-logos-ava1-l14-linearMSE",
    )  # fmt: skip

    def __init__(
        self, checkpoint: str | None = None, device: str | None = None, batch_size: int | None = None
    ) -> None:
        from transformers import AutoImageProcessor

        self.device, self.batch_size = device_for(device), batch_size or self.card.batch_size
        source = checkpoint or self.card.checkpoint
        self.processor = pretrained(self.name, AutoImageProcessor.from_pretrained, source)
        self.model = model_of(self.name, predictor_class(), source, self.device, ("layers.",))

    def score(self, samples: Sequence[Sample]) -> list[Score]:
        return score_images(self.name, self.card, samples, self._judge, self.batch_size)

    @torch.inference_mode()
    def _judge(self, images: "list[Image]", samples: list[Sample]) -> list[Score]:
        inputs = self.processor(images=images, return_tensors="pt")["pixel_values"]
        values = self.model(inputs.to(self.device, precision(self.device)))
        return [Score(self.name, v) for v in values.tolist()]
