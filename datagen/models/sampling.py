"""Drawing the next token for a batch whose rows have their own randomness, and batches that fit."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from datagen.errors import ModelError
from datagen.models.base import GenerationConfig, UnifiedSample


def in_batches(
    model: Any,
    generate: Callable[..., list[UnifiedSample]],
    batch: int,
    prompts: Sequence[str],
    seeds: Sequence[int],
    config: GenerationConfig,
    traces: Sequence[str] | None,
) -> list[UnifiedSample]:
    """``generate`` on ``batch`` prompts at a time (0: all at once), each with its seed and its trace.

    Raises ``ModelError`` if ``trace="given"`` comes without a trace for each prompt.
    """
    if config.trace == "given" and (traces is None or len(traces) != len(prompts)):
        raise ModelError("trace='given' needs one trace a prompt")
    size = batch or len(prompts)
    out: list[UnifiedSample] = []
    for start in range(0, len(prompts), max(size, 1)):
        part = slice(start, start + size)
        out += generate(model, prompts[part], seeds[part], config, None if traces is None else traces[part])
    return out


def choose(
    logits: Tensor, rows: list[torch.Generator], done: list[bool], temperature: float, top_k: int = 0
) -> Tensor:
    """[B] ids from logits [B, V] by the Gumbel-max trick; temperature 0 is greedy, ``top_k`` 0 keeps all.

    Each row draws from its own generator, and only while it is not done, so that a row's tokens do not
    depend on its batch.
    """
    if temperature <= 0:
        return logits.argmax(-1)
    if 0 < top_k < logits.shape[1]:
        least = logits.topk(top_k, dim=-1).values[:, -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    noise = torch.zeros_like(logits)
    for i, row in enumerate(rows):
        if not done[i]:
            uniform = torch.rand(logits.shape[1], generator=row).clamp(min=1e-20)
            noise[i] = -(-uniform.log()).log().to(logits.device)
    return (logits / temperature + noise).argmax(-1)
