"""CLIP and SigLIP: does the picture match its prompt, by the angle between two embeddings.

``TwoTower`` is shared with the preference models that are CLIP underneath. Prompts are embedded once
for a whole group. What does not fit the text tower (77 tokens, 64 for SigLIP) is cut, and the score
says so in ``details``: a long prompt is better judged by ``vqa``.
Radford et al. 2021; Hessel et al. 2021 (CLIPScore); Tschannen et al. 2025 (SigLIP 2).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from datagen.sample import Sample, Score
from rewards.base import Card, readable
from rewards.batches import score_images
from rewards.pretrained import device_for, distinct, model_of, precision, pretrained

if TYPE_CHECKING:
    from PIL.Image import Image


EXACT = ("logit_scale", "logit_bias")


class TwoTower:
    """An image tower and a text tower. Subclasses say which, and turn a cosine into their value."""

    name = ""
    heldout = False
    card: Card
    padding: str | bool = True

    def __init__(
        self, checkpoint: str | None = None, device: str | None = None, batch_size: int | None = None
    ) -> None:
        self.device = device_for(device)
        self.batch_size = batch_size or self.card.batch_size
        self.model, self.processor = self.load(checkpoint or self.card.checkpoint)

    def load(self, checkpoint: str) -> tuple[Any, Any]:
        """The model on ``self.device`` and its processor."""
        from transformers import AutoModel, AutoProcessor

        processor = pretrained(self.name, AutoProcessor.from_pretrained, checkpoint)
        return model_of(self.name, AutoModel, checkpoint, self.device, EXACT), processor

    def value(self, cosine: Tensor) -> Tensor:
        """[N] cosines to [N] values on the card's scale."""
        return cosine

    @torch.inference_mode()
    def embed_images(self, images: "Sequence[Image]") -> Tensor:
        """[N, D] of unit length."""
        inputs = self.processor.image_processor(images=list(images), return_tensors="pt")
        found = self.model.get_image_features(
            pixel_values=inputs["pixel_values"].to(self.device, precision(self.device))
        )
        return _unit(found)

    @torch.inference_mode()
    def embed_texts(self, texts: Sequence[str]) -> tuple[Tensor, list[bool]]:
        """[N, D] of unit length, and whether each text was cut."""
        tokenizer, limit = self.processor.tokenizer, self.model.config.text_config.max_position_embeddings
        clean = [readable(t) for t in texts]
        cut = [len(ids) > limit for ids in tokenizer(clean)["input_ids"]]
        inputs = tokenizer(
            clean, padding=self.padding, truncation=True, max_length=limit, return_tensors="pt"
        )
        return _unit(self.model.get_text_features(**inputs.to(self.device))), cut

    def score(self, samples: Sequence[Sample]) -> list[Score]:
        return score_images(self.name, self.card, samples, self._judge, self.batch_size)

    def _judge(self, images: "list[Image]", samples: list[Sample]) -> list[Score]:
        prompts, index = distinct(s.prompt for s in samples)
        texts, cut = self.embed_texts(prompts)
        cosine = (self.embed_images(images) * texts[index]).sum(-1)
        return [
            Score(self.name, v, "", {"truncated": True} if cut[i] else {})
            for v, i in zip(self.value(cosine).tolist(), index, strict=True)
        ]


def _unit(output: Any) -> Tensor:
    found = output if isinstance(output, Tensor) else output.pooler_output
    return torch.nn.functional.normalize(found.float(), dim=-1)


class Clip(TwoTower):
    name = "clip"
    card = Card(
        ("prompt", "image"), "cosine, about 0.15 to 0.35", "MIT", -1.0, 1.0, 1.8, 64,
        "openai/clip-vit-large-patch14",
    )  # fmt: skip


class Siglip(TwoTower):
    """The sigmoid of SigLIP: a calibrated probability that prompt and picture belong together."""

    name = "siglip"
    padding = "max_length"  # as it was trained
    card = Card(
        ("prompt", "image"), "probability of a match; small even for good pictures", "Apache-2.0", 0.0, 1.0, 2.0,
        64, "google/siglip2-so400m-patch14-384",
    )  # fmt: skip

    def value(self, cosine: Tensor) -> Tensor:
        scale, bias = self.model.logit_scale.float().exp(), self.model.logit_bias.float()
        return torch.sigmoid(cosine * scale + bias)
