"""What training costs and what it is given: tokens a second by modality, MFU (model FLOPs utilisation,
PaLM's appendix B), the weights' histogram.

FLOPs are counted from the parameters that each token really passes: in BAGEL text tokens the text expert,
image tokens the generation expert; two for the forward pass, two for the gradient of activations and
two for that of weights where they train. Attention's own products and recomputation are left out, and so
is what never runs in a step (codecs, towers), so the figure is a lower bound. A device that is not in the
table has no MFU, nor has a model that does not say what its tokens pass.
"""

import time
from collections.abc import Collection, Iterable, Mapping
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
EXPERTS = {"text": ("text", "head"), "image": ("generation",)}  # what a modality's tokens pass, unless told
# Tables are looked up; the others are diffusers' names for what an image's tokens do not pass each by itself:
# modulation of norms, once a picture, and the weights of the text's stream.
SKIPPED = ("embed", "norm", "context", ".add_", ".to_add_out")
BARS = (0.0, 0.5, 1.0, 2.0, 4.0)  # upper ends; the last bar is open


def histogram(weights: torch.Tensor) -> dict[str, float]:
    """The share of ``weights`` [B] that are 0, in 0-0.5, 0.5-1, 1-2, 2-4 and above: scalars, for any logger."""
    bars = torch.bucketize(weights.detach().cpu(), torch.tensor(BARS))
    counts = torch.bincount(bars, minlength=len(BARS) + 1) / max(1, len(weights))
    names = ["0", *(f"{low:g}-{high:g}" for low, high in pairwise(BARS)), f"over {BARS[-1]:g}"]
    return dict(zip(names, counts.tolist(), strict=True))


def line(row: Mapping[str, float], total: int) -> str:
    """One row of the log for a person: losses and ESS by modality, gradient norms by expert, what it costs."""
    out = [f"step {row['step']:.0f}/{total}"]
    for title, prefix in (("loss", "loss_"), ("ESS", "ess_"), ("gradient", "grad_norm_")):
        found = [f"{k.removeprefix(prefix)} {v:.3g}" for k, v in row.items() if k.startswith(prefix)]
        out += [f"{title} {' '.join(found)}"] if found else []
    out += [f"{name} {row[name]:.3g}" for name in ("drift", "kl") if name in row]
    speeds = [(m, row.get(f"{m}_tokens_per_second", 0)) for m in ("text", "image")]
    out.append(" + ".join(f"{v:,.0f} {m}" for m, v in speeds) + " tokens/s")
    out += [f"MFU {row['mfu']:.0%}"] if "mfu" in row else []
    return ", ".join(out)


def peak_flops() -> float | None:
    """Of this process's device; None where unknown."""
    if not torch.cuda.is_available():
        return None
    name = torch.cuda.get_device_name()
    return next((flops for key, flops in PEAK.items() if key in name), None)


def matmul_parameters(
    named: Iterable[tuple[str, nn.Parameter]], resting: Collection[int] = ()
) -> dict[str, tuple[int, int]]:
    """``{part: (parameters, of which train)}`` of the matrices that tokens pass; ``resting`` ids never run."""
    found = {"text": [0, 0], "head": [0, 0], "generation": [0, 0]}
    for name, p in named:
        if p.ndim < 2 or id(p) in resting or any(s in name for s in SKIPPED):
            continue
        counts = found[part(name)]
        counts[0] += p.numel()
        counts[1] += p.numel() if p.requires_grad else 0
    return {key: (total, trained) for key, (total, trained) in found.items()}


def image_tokens(model: UnifiedModel) -> int:
    """How many tokens one picture of ``model`` is; 0 where the model does not say."""
    owner = model if hasattr(model, "image_tokens") else getattr(model, "config", None)
    return int(getattr(owner, "image_tokens", 0))


@dataclass
class Throughput:
    """Tokens since the last reading, for one process.

    ``passes`` are the parts that a token of each modality goes through, ``resting`` the ids of parameters
    that never run while training.
    """

    module: nn.Module
    image_tokens: int  # of one picture
    passes: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: EXPERTS)
    resting: Collection[int] = ()
    tokens: dict[str, int] = field(default_factory=lambda: {"text": 0, "image": 0})
    since: float = field(default_factory=time.monotonic)

    @classmethod
    def of(cls, model: UnifiedModel, resting: Collection[nn.Parameter] = ()) -> "Throughput":
        passes = getattr(model, "passes", EXPERTS)
        return cls(model.module, image_tokens(model), passes, {id(p) for p in resting})

    def count(self, batch: UnifiedBatch) -> None:
        self.tokens["text"] += int(batch.text_mask.sum())
        self.tokens["image"] += int(batch.image_mask.sum()) * self.image_tokens

    def flops(self) -> float:
        """Of the tokens counted so far, forward and backward."""
        counts = matmul_parameters(self.module.named_parameters(), self.resting)
        return sum(
            n * (4 * counts[part][0] + 2 * counts[part][1])
            for modality, n in self.tokens.items()
            for part in self.passes[modality]
        )

    def read(self) -> dict[str, float]:
        """``tokens_per_second`` of each modality, and ``mfu`` on a known device; starts counting anew."""
        seconds = max(time.monotonic() - self.since, 1e-9)
        rates = {f"{m}_tokens_per_second": n / seconds for m, n in self.tokens.items()}
        peak = peak_flops()
        if peak and any(self.passes.values()):
            rates["mfu"] = self.flops() / seconds / peak
        self.tokens = {"text": 0, "image": 0}
        self.since = time.monotonic()
        return rates
