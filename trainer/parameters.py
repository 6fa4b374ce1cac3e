"""Which parameters train, and how fast: the text expert, its head, the generation expert.

The experts want different rates, and the head a faster one than the rest of the text expert: the
opening token was never supervised in pretraining, so its row of the head starts from a probability
of about 1e-7. Left out: a rate for each layer.
"""

from collections.abc import Iterator
from typing import Any

from torch import nn

GENERATION = ("moe_gen", "vae2llm", "llm2vae", "time_embedder", "latent_pos_embed")
HEAD = ("lm_head",)


def part(name: str) -> str:
    """``generation``, ``head`` or ``text`` from a parameter's name."""
    if any(g in name for g in GENERATION):
        return "generation"
    return "head" if any(h in name for h in HEAD) else "text"


def freeze(module: nn.Module, weight: tuple[str, ...]) -> None:
    """Under one modality's weights only its own expert trains, so that the other stays what it was.

    Both experts share attention: an image loss would otherwise move how the trace is written. A model
    without a generation expert (one decoder for both, or a denoiser alone) trains whole.
    """
    if not weight or set(weight) == {"text", "image"}:
        return
    if not any(part(name) == "generation" for name, _ in module.named_parameters()):
        return
    for name, p in module.named_parameters():
        if (part(name) == "generation") != ("image" in weight):
            p.requires_grad_(False)


def groups(
    named: Iterator[tuple[str, nn.Parameter]], text_lr: float, image_lr: float, head_ratio: float
) -> list[dict[str, Any]]:
    """Optimizer groups of what trains, each with its name and rate."""
    rates = {"generation": image_lr, "text": text_lr, "head": text_lr * head_ratio}
    members: dict[str, list[nn.Parameter]] = {name: [] for name in rates}
    for name, p in named:
        if p.requires_grad:
            members[part(name)].append(p)
    return [{"params": members[n], "lr": rate, "name": n} for n, rate in rates.items() if members[n]]
