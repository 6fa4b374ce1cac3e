"""Which parameters train, in what precision, and how fast: the text expert, its head, the generation expert.

The experts want different rates, and the head a faster one than the rest of the text expert: the
opening token was never supervised in pretraining, so its row of the head starts from a probability
of about 1e-7. Left out: a rate for each layer.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from datagen.errors import InputError

EXPERT = ("moe_gen", "vae2llm", "llm2vae", "time_embedder", "latent_pos_embed")  # BAGEL's, for images alone
CODES = (
    "generation_head",
    "generation_embeddings",
    "generation_aligner",
)  # Janus', around one decoder for both
HEAD = ("lm_head",)


def part(name: str, draws_only: bool = False) -> str:
    """``generation``, ``head`` or ``text`` from a parameter's name; a model that only draws is all generation."""
    if draws_only or any(g in name for g in EXPERT + CODES):
        return "generation"
    return "head" if any(h in name for h in HEAD) else "text"


def freeze(module: nn.Module, weight: tuple[str, ...], draws_only: bool = False) -> None:
    """Under one modality's weights only its own expert trains, so that the other stays what it was.

    Both experts share attention: an image loss would otherwise move how the trace is written. A model
    without a generation expert (one decoder for both, or a denoiser alone) trains whole. Raises
    ``InputError`` when that leaves nothing: a model that only draws, under the text's weights.
    """
    if draws_only and weight == ("text",):
        raise InputError("--weight text: this model only draws; valid: image / text,image / none")
    if not weight or set(weight) == {"text", "image"}:
        return
    if not any(e in name for name, _ in module.named_parameters() for e in EXPERT):
        return
    for name, p in module.named_parameters():
        if (part(name) == "generation") != ("image" in weight):
            p.requires_grad_(False)


def widen(module: nn.Module, everything: bool) -> None:
    """Float32 for what trains, or for everything: in bfloat16 a step of 5e-6 rounds away, and so does an average.

    What is frozen stays as it is stored, and autocast computes both in bfloat16. Without autocast nothing
    would bring the two together, so then it is everything; in a small model too, where it costs nothing.
    """
    if everything:
        module.float()
        return
    for p in module.parameters():
        if p.requires_grad and p.dtype != torch.float32:
            p.data = p.data.float()


def groups(
    named: Iterator[tuple[str, nn.Parameter]],
    text_lr: float,
    image_lr: float,
    head_ratio: float,
    draws_only: bool = False,
) -> list[dict[str, Any]]:
    """Optimizer groups of what trains, each with its name and rate."""
    rates = {"generation": image_lr, "text": text_lr, "head": text_lr * head_ratio}
    members: dict[str, list[nn.Parameter]] = {name: [] for name in rates}
    for name, p in named:
        if p.requires_grad:
            members[part(name, draws_only)].append(p)
    return [{"params": members[n], "lr": rate, "name": n} for n, rate in rates.items() if members[n]]
