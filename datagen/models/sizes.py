"""What a model needs: parameters counted on the meta device, bytes worked out from the config.

Nothing is loaded and nothing measured. What trains is float32; what does not, activations and caches are
bfloat16. Left out: fragmentation and the CUDA context, for which ``RESERVE`` stands; the arithmetic is for
choosing a device, not for filling it.
"""

import json
import math
import re
from dataclasses import dataclass
from typing import Any

from datagen.errors import InputError, ModelError
from datagen.models import hub

RESERVE = 1.08  # of a device's memory is never ours
BF16, F32 = 2, 4
TEXT = 320  # tokens of thinking prompt, prompt and trace that are reckoned with
# Bytes that the optimizer adds to a trained parameter: its gradient, two moments and the average (the trainer's
# EMA), all float32; with 8-bit moments, two of a byte each.
STATES = {"adamw": F32 + 2 * F32 + F32, "adamw8bit": F32 + 2 + F32}
RANK = 16
UNITS = 2  # layers that are gathered at once under --shard: the one that runs and the next


@dataclass(frozen=True)
class Memory:
    """Bytes of one task: ``resting`` of the weights are never sharded, ``gathered`` is what --shard adds."""

    weights: int
    activations: int
    optimizer: int = 0
    resting: int = 0
    gathered: int = 0

    @property
    def total(self) -> int:
        return self.weights + self.activations + self.optimizer

    def sharded(self, devices: int) -> int:
        """Of each of ``devices``: a share of what is divided, and whole what every process has of its own."""
        divided = self.weights - self.resting + self.optimizer
        return self.resting + math.ceil(divided / devices) + self.gathered + self.activations


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

    def drawing(self, batch: int) -> Memory:
        """To generate ``batch`` images at once, with guidance as a second row of each."""
        cached = TEXT + (self.image_tokens if self.token_by_token else 0)
        cache = cached * self.layers * 2 * self.kv * BF16
        live = 1 if self.token_by_token else self.image_tokens
        layer = live * (6 * self.hidden + 3 * self.intermediate + 2 * self.kv) * BF16
        logits = 3 * self.vocabulary * F32
        decoding = self.pixels**2 * 256 * 4 * BF16  # the autoencoder's widest layer, one image at a time
        return Memory(self.weights, batch * (2 * (cache + layer) + logits) + decoding)

    def training(self, batch: int, rank: int = 0, optimizer: str = "adamw") -> Memory:
        """To train on ``batch`` samples at once, activations recomputed; rank 0 trains all."""
        trained = rank * self.adapted if rank else self.decoder
        frozen = self.parameters if rank else self.parameters - self.decoder
        tokens = TEXT + self.image_tokens
        kept = tokens * self.layers * self.hidden * BF16
        layer = tokens * (16 * self.hidden + 6 * self.intermediate) * BF16
        logits = TEXT * self.vocabulary * (BF16 + 2 * F32)
        unit = math.ceil(self.decoder / self.layers)
        return Memory(
            weights=frozen * BF16 + trained * F32,
            activations=batch * (kept + layer + logits),
            optimizer=trained * STATES[optimizer],
            resting=(self.parameters - self.decoder) * BF16,
            gathered=UNITS * unit * BF16
            + (0 if rank else unit * F32),  # the gradients of one before they are reduced
        )


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


def janus(config: Any = None) -> Size:
    """Janus-Pro-7B by its published config, or another of its family."""
    import torch
    from transformers import JanusConfig, JanusForConditionalGeneration, LlamaConfig

    if config is None:
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
        network,
        ("model.vqmodel", "model.vision_model", "model.aligner"),
        image_tokens=config.vq_config.num_patches**2,
        pixels=config.vision_config.image_size,
        **decoder_of(config.text_config),
    )


def emu3(config: Any = None) -> Size:
    """Emu3-Gen by transformers' defaults, which are its config, or another; both at 720 px."""
    import torch
    from transformers import Emu3Config, Emu3ForConditionalGeneration

    config = config or Emu3Config(vocabulary_map={"<image>": 0, "<|extra_200|>": 1})
    with torch.device("meta"):
        network = Emu3ForConditionalGeneration(config)
    return measure(
        network, ("model.vqmodel",), image_tokens=90 * 91, pixels=720, **decoder_of(config.text_config)
    )


def decoder_of(text: Any) -> dict[str, Any]:
    """The shape of a decoder of transformers that draws token by token."""
    return {
        "layers": text.num_hidden_layers,
        "hidden": text.hidden_size,
        "intermediate": text.intermediate_size,
        "kv": text.num_key_value_heads * text.hidden_size // text.num_attention_heads,
        "vocabulary": text.vocab_size,
        "token_by_token": True,
    }


SIZES = {"pocket": pocket, "bagel": bagel, "janus": janus, "emu3": emu3}


def size_of(name: str) -> Size:
    """Of a name in ``SIZES``, or of a folder or Hub id by its ``config.json`` alone; no weights are fetched.

    Raises ``ModelError`` where there is no such config, ``InputError`` for a family whose size is not known.
    """
    if name in SIZES:
        return SIZES[name]()
    from datagen.models.bagel.config import BagelConfig
    from datagen.models.bagel.upstream import by_config

    folder = hub.fetch(name, ("config.json", "*_config.json"))
    path = folder / "config.json"
    try:
        row = json.loads(path.read_text())
        kind = row.get("model_type") or ("bagel" if "llm_config" in row else None)
    except (OSError, ValueError, AttributeError) as error:
        raise ModelError(f"{path}: not a readable model config: {error}") from error
    if kind == "bagel":
        ours = "hidden_size" in row
        return bagel(BagelConfig.load(folder) if ours else by_config(folder))
    from transformers import Emu3Config, JanusConfig

    if kind == "janus":
        return janus(JanusConfig.from_pretrained(folder))
    if kind == "emu3":
        return emu3(Emu3Config.from_pretrained(folder))
    raise InputError(f"{path}: model_type is {kind!r}; sizes are known of bagel, janus, emu3")
