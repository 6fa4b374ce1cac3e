"""Emu3 on transformers' classes: one vocabulary for words and codes, one head.

The image is rows of codes, each closed by an end-of-line token, after a header that says how many rows
and columns: only the codes are sampled, and only they are trained on. Chat and Gen are separate
checkpoints; Gen draws, and was not trained to write a trace first. 720 px is 8,100 codes.
"""

from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from datagen.models import vq_load
from datagen.models.vq import VQModel, VQSettings

HUB = "BAAI/Emu3-Gen-hf"
DEFAULTS = VQSettings(
    think="{prompt}\n",
    plain="{prompt}",
    image_size=720,
    cfg=3.0,
    top_k=2048,
)


class Emu3Model(VQModel):
    TOKENS = {"boi": "<|image start|>", "image_wrapper": "<|image token|>"}  # noqa: RUF012
    passes = {"text": ("text", "head"), "image": ("text", "head")}  # noqa: RUF012

    @property
    def decoder(self) -> nn.Module:
        return self.network.model.text_model

    def frozen(self) -> list[nn.Module]:
        return [self.network.model.vqmodel]

    @cached_property
    def code_ids(self) -> Tensor:
        """[codebook] the vocabulary's id of each code."""
        return self.network.vocabulary_mapping.img2bpe_mapping_tensor.long().to(self.device)

    def banned(self) -> Tensor | None:
        return self.code_ids

    def block(self) -> list[int | None]:
        header = [*self.encode(f"{self.side}*{self.side}"), self.token_id("image_wrapper")]
        line: list[int | None] = [*[None] * self.side, self.network.vocabulary_mapping.eol_token_id]
        return [self.boi, *header, *(line * self.side)[:-1]]

    def unconditional(self, length: int) -> list[int]:
        return [self.bos, *self.encode(self.settings.negative)][:length]

    def embed_codes(self, codes: Tensor) -> Tensor:
        return self.network.get_input_embeddings()(self.code_ids[codes])

    def code_logits(self, hidden: Tensor) -> Tensor:
        return self.network.lm_head(hidden)[..., self.code_ids]

    @torch.no_grad()
    def encode_image(self, pixels: Tensor) -> Tensor:
        sizes = torch.tensor([list(pixels.shape[-2:])] * len(pixels))
        codes = self.codec.encode(self.normalised(pixels), sizes).image_tokens
        return torch.stack([c.flatten() for c in codes])

    @torch.no_grad()
    def decode_image(self, representation: Tensor) -> Tensor:
        grid = representation.to(self.device).view(-1, self.side, self.side)
        return self.denormalised(self.codec.decode(grid))

    @property
    def side(self) -> int:
        return self.image_size // self.network.model.vqmodel.vision_spatial_factor

    @property
    def image_size(self) -> int:
        return self.settings.image_size


def load(name: str, device: str = "cpu", **chosen: Any) -> Emu3Model:
    """``emu3`` is Emu3-Gen from the Hub; else a folder or a Hub id. ``chosen``: fields of ``VQSettings``."""
    from transformers import Emu3ForConditionalGeneration

    name = HUB if name == "emu3" else name
    return Emu3Model(*vq_load.load(Emu3ForConditionalGeneration, name, device, DEFAULTS, chosen))
