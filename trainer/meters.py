"""What training costs and what it is given: tokens a second by modality, MFU (model FLOPs utilisation,
PaLM's appendix B), the weights' histogram.

FLOPs are counted from the parameters that each token really passes: text tokens the text expert,
image tokens the generation expert, two for the forward pass, two for the gradient of activations and
two for that of weights where they train. Attention's own products and recomputation are left out,
so the figure is a lower bound. A device that is not in the table has no MFU.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import nn

from datagen.models.base import UnifiedBatch, UnifiedModel
from trainer.parameters import part

PEAK = {  # dense bfloat16 FLOP/s, from the vendors' data sheets
    "B200": 2.25e15,
    "H200": 9.89e14,
    "H100": 9.89e14,
    "A100": 3.12e14,
    "L40S": 3.62e14,
    "RTX 4090": 1.65e14,
}


BARS = (0.0, 0.5, 1.0, 2.0, 4.0)  # upper ends; the last bar is open


def histogram(weights: torch.Tensor) -> dict[str, float]:
    """The share of ``weights`` [B] that are 0, in 0-0.5, 0.5-1, 1-2, 2-4 and above: scalars, for any logger."""
    bars = torch.bucketize(weights.detach().cpu(), torch.tensor(BARS))
    counts = torch.bincount(bars, minlength=len(BARS) + 1) / max(1, len(weights))
    names = ["0", *(f"{low:g}-{high:g}" for low, high in pairwise(BARS)), f"over {BARS[-1]:g}"]
    return dict(zip(names, counts.tolist(), strict=True))


def peak_flops() -> float | None:
    """Of this process's device; None where unknown."""
    if not torch.cuda.is_available():
        return None
    name = torch.cuda.get_device_name()
    return next((flops for key, flops in PEAK.items() if key in name), None)


def matmul_parameters(named: Iterable[tuple[str, nn.Parameter]]) -> dict[str, tuple[int, int]]:
    """``{"text" | "generation": (parameters, of which train)}`` of the matrices; tables are looked up."""
    found = {"text": [0, 0], "generation": [0, 0]}
    for name, p in named:
        if p.ndim < 2 or "embed" in name:
            continue
        counts = found["generation" if part(name) == "generation" else "text"]
        counts[0] += p.numel()
        counts[1] += p.numel() if p.requires_grad else 0
    return {key: (total, trained) for key, (total, trained) in found.items()}


def image_tokens(model: UnifiedModel) -> int:
    """How many tokens one picture of ``model`` is; 0 where the model does not say."""
    return int(getattr(getattr(model, "config", None), "image_tokens", 0))


@dataclass
class Throughput:
    """Tokens since the last reading, for one process."""

    module: nn.Module
    image_tokens: int  # of one picture
    tokens: dict[str, int] = field(default_factory=lambda: {"text": 0, "image": 0})
    since: float = field(default_factory=time.monotonic)

    def count(self, batch: UnifiedBatch) -> None:
        self.tokens["text"] += int(batch.text_mask.sum())
        self.tokens["image"] += int(batch.image_mask.sum()) * self.image_tokens

    def read(self) -> dict[str, float]:
        """``tokens_per_second`` of each modality, and ``mfu`` on a known device; starts counting anew."""
        seconds = max(time.monotonic() - self.since, 1e-9)
        rates = {f"{m}_tokens_per_second": n / seconds for m, n in self.tokens.items()}
        if peak := peak_flops():
            counts = matmul_parameters(self.module.named_parameters())
            flops = sum(
                self.tokens[modality] * (4 * counts[expert][0] + 2 * counts[expert][1])
                for modality, expert in (("text", "text"), ("image", "generation"))
            )
            rates["mfu"] = flops / seconds / peak
        self.tokens = {"text": 0, "image": 0}
        self.since = time.monotonic()
        return rates
