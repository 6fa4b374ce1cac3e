"""What a model needs: parameters counted on the meta device, bytes worked out from the config.

Nothing is loaded and nothing measured. Weights and caches are bfloat16. Left out: fragmentation and the
CUDA context, for which ``RESERVE`` stands; the arithmetic is for choosing a device, not for filling it.
"""

import re
from dataclasses import dataclass
from typing import Any

RESERVE = 1.08  # of a device's memory is never ours
BF16, F32 = 2, 4
TEXT = 320  # tokens of thinking prompt, prompt and trace that are reckoned with
# Bytes a trained parameter costs: weight, gradient, two moments, average (trainer's EMA), all float32;
# with 8-bit moments, two of a byte each.
TRAINED = {"adamw": F32 + F32 + 2 * F32 + F32, "adamw8bit": F32 + F32 + 2 + F32}
RANK = 16


@dataclass(frozen=True)
class Size:
    """``parameters`` with codec and tower; ``decoder`` what full training trains; ``adapted`` the inputs
    and outputs of the layers that LoRA adapts, so that a rank r adds r times as many."""

    parameters: int
    decoder: int
    adapted: int
    layers: int
    hidden: int
    intermediate: int
    kv: int  # width of a layer's keys
    vocabulary: int
    image_tokens: int
    pixels: int  # a side
    token_by_token: bool  # the image's tokens are cached too

    @property
    def weights(self) -> int:
        return self.parameters * BF16

    def drawing(self, batch: int) -> int:
        """Bytes to generate ``batch`` images at once, with guidance as a second row of each."""
        cached = TEXT + (self.image_tokens if self.token_by_token else 0)
        cache = cached * self.layers * 2 * self.kv * BF16
        live = 1 if self.token_by_token else self.image_tokens
        layer = live * (6 * self.hidden + 3 * self.intermediate + 2 * self.kv) * BF16
        logits = 3 * self.vocabulary * F32
        decoding = self.pixels**2 * 256 * 4 * BF16  # the autoencoder's widest layer, one image at a time
        return self.weights + batch * (2 * (cache + layer) + logits) + decoding

    def training(self, batch: int, rank: int = 0, optimizer: str = "adamw") -> int:
        """Bytes to train on ``batch`` samples at once, activations recomputed; rank 0 trains all."""
        if rank:
            states = self.weights + rank * self.adapted * TRAINED[optimizer]
        else:
            states = (self.parameters - self.decoder) * BF16 + self.decoder * TRAINED[optimizer]
        tokens = TEXT + self.image_tokens
        kept = tokens * self.layers * self.hidden * BF16
        layer = tokens * (16 * self.hidden + 6 * self.intermediate) * BF16
        logits = TEXT * self.vocabulary * (BF16 + 2 * F32)
        return states + batch * (kept + layer + logits)


def measure(module: Any, frozen: tuple[str, ...], extra: int = 0, **shape: Any) -> Size:
    """A ``Size`` from a module on the meta device; names that begin with ``frozen`` are never trained."""
    from torch import nn

    total = decoder = adapted = 0
    for name, p in module.named_parameters():
        total += p.numel()
        decoder += 0 if name.startswith(frozen) else p.numel()
    for name, layer in module.named_modules():
        if (
            isinstance(layer, nn.Linear)
            and re.search(r"_proj[^.]*$|lm_head$", name)
            and not name.startswith(frozen)
        ):
            adapted += layer.in_features + layer.out_features
    return Size(parameters=total + extra, decoder=decoder, adapted=adapted, **shape)


FLUX_CODEC = 83_819_683  # parameters of ae.safetensors


def bagel(config: Any = None) -> Size:
    import torch

    from datagen.models.bagel.config import BAGEL_7B
    from datagen.models.bagel.model import Bagel

    c = config or BAGEL_7B
    with torch.device("meta"):
        network = Bagel(c)
    return measure(
        network,
        ("vit_model", "connector", "vit_pos_embed", "latent_pos_embed"),
        FLUX_CODEC if c.codec == "flux" else 0,
        layers=c.num_layers,
        hidden=c.hidden_size,
        intermediate=c.intermediate_size,
        kv=c.num_kv_heads * c.hidden_size // c.num_heads,
        vocabulary=c.vocab_size,
        image_tokens=c.image_tokens,
        pixels=c.image_size,
        token_by_token=False,
    )


def pocket() -> Size:
    from datagen.models.bagel import WEIGHTS
    from datagen.models.bagel.config import BagelConfig

    return bagel(BagelConfig.load(WEIGHTS))


def janus() -> Size:
    """Janus-Pro-7B, by its published config."""
    import torch
    from transformers import JanusConfig, JanusForConditionalGeneration, LlamaConfig

    text = LlamaConfig(
        vocab_size=102_400, hidden_size=4096, intermediate_size=11_008, num_hidden_layers=30,
        num_attention_heads=32, num_key_value_heads=32,
    )  # fmt: skip
    config = JanusConfig(
        text_config=text,
        vision_config={"projection_dim": 4096},
        vq_config={"projection_dim": 4096, "image_token_embed_dim": 4096},
        tie_word_embeddings=False,
    )
    with torch.device("meta"):
        network = JanusForConditionalGeneration(config)
    return measure(
        network, ("model.vqmodel", "model.vision_model", "model.aligner"),
        layers=30, hidden=4096, intermediate=11_008, kv=4096, vocabulary=102_400, image_tokens=576, pixels=384,
        token_by_token=True,
    )  # fmt: skip


def emu3() -> Size:
    """Emu3-Gen at 720 px, by transformers' defaults, which are its config."""
    import torch
    from transformers import Emu3Config, Emu3ForConditionalGeneration

    config = Emu3Config(vocabulary_map={"<image>": 0, "<|extra_200|>": 1})
    t = config.text_config
    with torch.device("meta"):
        network = Emu3ForConditionalGeneration(config)
    return measure(
        network, ("model.vqmodel",), layers=t.num_hidden_layers, hidden=t.hidden_size,
        intermediate=t.intermediate_size, kv=t.num_key_value_heads * t.hidden_size // t.num_attention_heads,
        vocabulary=t.vocab_size, image_tokens=90 * 91, pixels=720, token_by_token=True,
    )  # fmt: skip


SIZES = {"pocket": pocket, "bagel": bagel, "janus": janus, "emu3": emu3}
