"""Drawing the next token for a batch whose rows have their own randomness."""

import torch
from torch import Tensor


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
