"""NSFW gate: the probability that a picture is safe for work, by a small maintained classifier.

Any image classifier of transformers whose labels name the unsafe class works. It is a gate and no
moderation: it errs both ways, and says nothing about violence or likeness.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from datagen.errors import InputError
from datagen.sample import Sample, Score
from rewards.base import Card
from rewards.batches import score_images
from rewards.pretrained import device_for, model_of, pretrained

if TYPE_CHECKING:
    from PIL.Image import Image

UNSAFE = ("nsfw", "porn", "hentai", "sexy", "unsafe", "explicit")


class Nsfw:
    name = "nsfw"
    heldout = False
    card = Card(
        ("image",), "probability of being safe", "Apache-2.0", memory_gib=0.6, batch_size=64,
        checkpoint="Falconsai/nsfw_image_detection",
    )  # fmt: skip

    def __init__(
        self, checkpoint: str | None = None, device: str | None = None, batch_size: int | None = None
    ) -> None:
        from transformers import AutoImageProcessor, AutoModelForImageClassification

        self.device, self.batch_size = device_for(device), batch_size or self.card.batch_size
        source = checkpoint or self.card.checkpoint
        self.processor = pretrained(self.name, AutoImageProcessor.from_pretrained, source)
        self.model = model_of(self.name, AutoModelForImageClassification, source, self.device)
        labels = {i: str(label).lower() for i, label in self.model.config.id2label.items()}
        self.unsafe = sorted(i for i, label in labels.items() if label in UNSAFE)
        if not self.unsafe or len(self.unsafe) == len(labels):
            known = ", ".join(labels.values())
            raise InputError(
                f"reward 'nsfw': {source!r} has labels {known}; one of {', '.join(UNSAFE)} is needed"
            )

    def score(self, samples: Sequence[Sample]) -> list[Score]:
        return score_images(self.name, self.card, samples, self._judge, self.batch_size)

    @torch.inference_mode()
    def _judge(self, images: "list[Image]", samples: list[Sample]) -> list[Score]:
        inputs = self.processor(images=images, return_tensors="pt")["pixel_values"]
        chances = self.model(pixel_values=inputs.to(self.device, self.model.dtype)).logits.float().softmax(-1)
        unsafe = chances[:, self.unsafe].sum(-1)
        return [Score(self.name, 1 - p) for p in unsafe.tolist()]
