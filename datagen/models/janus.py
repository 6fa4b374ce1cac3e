"""Janus and Janus-Pro on transformers' classes: two embedding tables, two heads, one decoder.

Weights are those of the Hub's ``deepseek-community`` (the format of transformers, not of DeepSeek's own
repository). Prompted in DeepSeek's two roles; the released models were not trained to write a trace
before an image, so ``think`` asks for it in words.
"""

from typing import Any

import torch
from torch import Tensor, nn

from datagen.models import vq_load
from datagen.models.vq import VQModel, VQSettings

HUB = "deepseek-community/Janus-Pro-7B"
DEFAULTS = VQSettings(
    think=(
        "<|User|>: Plan in one short paragraph what the image must show, then draw it: {prompt}\n\n<|Assistant|>:"
    ),
    plain="<|User|>: {prompt}\n\n<|Assistant|>:",
    lead=" ",
)


class JanusModel(VQModel):
    TOKENS = {"boi": "<begin_of_image>"}  # noqa: RUF012
    passes = {"text": ("text", "head"), "image": ("text", "generation")}  # noqa: RUF012

    @property
    def decoder(self) -> nn.Module:
        return self.network.model.language_model

    def frozen(self) -> list[nn.Module]:
        m = self.network.model
        return [m.vqmodel, m.vision_model, m.aligner]

    def block(self) -> list[int | None]:
        return [self.boi, *[None] * self.side**2]

    def unconditional(self, length: int) -> list[int]:
        return [self.bos, *[self.pad] * (length - 1)]  # as Janus was trained: the text is padded over

    def embed_codes(self, codes: Tensor) -> Tensor:
        return self.network.prepare_embeddings_for_image_generation(codes)

    def code_logits(self, hidden: Tensor) -> Tensor:
        return self.network.model.generation_head(hidden)

    @torch.no_grad()
    def encode_image(self, pixels: Tensor) -> Tensor:
        codes = self.codec.encode(self.normalised(pixels)).image_tokens
        return codes.view(len(pixels), -1)

    @torch.no_grad()
    def decode_image(self, representation: Tensor) -> Tensor:
        return self.denormalised(self.codec.decode(representation.to(self.device)))

    @property
    def side(self) -> int:
        return self.network.config.vq_config.num_patches

    @property
    def image_size(self) -> int:
        return self.side * 2 ** (len(self.network.config.vq_config.channel_multiplier) - 1)


def load(name: str, device: str = "cpu", **chosen: Any) -> JanusModel:
    """``janus`` is Janus-Pro-7B from the Hub; else a folder or a Hub id. ``chosen``: ``VQSettings``."""
    from transformers import JanusForConditionalGeneration

    name = HUB if name == "janus" else name
    return JanusModel(*vq_load.load(JanusForConditionalGeneration, name, device, DEFAULTS, chosen))
