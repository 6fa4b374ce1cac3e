"""What a device cannot beat: the seconds that a BAGEL's matrix products and bytes take at its peak.

Each pass of the network takes at least ``max(FLOPs / peak, bytes / bandwidth)``; a batch's bound is the sum
over its passes. Bytes are the weights that a pass reads and the cached keys and values. Left out:
activations, the autoencoder and everything that is not a matrix product, so no code reaches all of it.
Peaks are the vendors'; where the device is in no table, they are measured with one large product and one copy.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from datagen.models.bagel.flow import times
from datagen.models.bagel.model import Bagel
from datagen.models.base import UnifiedBatch
from trainer.meters import peak_flops
from trainer.parameters import part

BANDWIDTH = {  # bytes/s of the device's memory, from the vendors' data sheets
    "B200": 8.0e12,
    "H200": 4.8e12,
    "H100": 3.35e12,
    "A100": 2.04e12,
    "L40S": 8.64e11,
    "RTX 4090": 1.01e12,
}
SIDE = 2048  # of the product that is measured


@dataclass(frozen=True)
class Ceiling:
    flops: float  # a second
    bandwidth: float  # bytes a second
    measured: bool

    def seconds(self, flops: float, moved: float) -> float:
        return max(flops / self.flops, moved / self.bandwidth)


def ceiling(device: str) -> Ceiling:
    peak = peak_flops() if device == "cuda" else None
    name = torch.cuda.get_device_name() if device == "cuda" else ""
    bandwidth = next((b for key, b in BANDWIDTH.items() if key in name), None)
    if peak and bandwidth:
        return Ceiling(peak, bandwidth, False)

    clock = time.monotonic if device == "cuda" else time.process_time

    def fastest(work: Callable[[], object]) -> float:
        best = float("inf")
        for _ in range(5):
            began = clock()
            work()
            if device == "cuda":
                torch.cuda.synchronize()
            best = min(best, clock() - began)
        return best

    rates = []
    for dtype in (torch.float32, torch.bfloat16):
        a = torch.ones(SIDE, SIDE, device=device, dtype=dtype)
        rates.append(2 * SIDE**3 / fastest(lambda a=a: a @ a))  # type: ignore[misc]
    wide = torch.ones(64 * 2**20, device=device)
    return Ceiling(max(rates), 2 * wide.nbytes / fastest(wide.clone), True)


def matrices(network: Bagel) -> dict[str, tuple[int, int]]:
    """``{part: (parameters, of which train)}`` of what tokens are multiplied with; tables are looked up."""
    found = {"text": (0, 0), "head": (0, 0), "generation": (0, 0)}
    for name, p in network.named_parameters():
        if p.ndim > 1 and "embed" not in name and not name.startswith(("vit_model", "connector")):
            total, trained = found[part(name)]
            found[part(name)] = (total + p.numel(), trained + p.numel() * p.requires_grad)
    return found


def guided_steps(network: Bagel, steps: int | None) -> int:
    """How many of the flow's steps lie in the guidance interval."""
    c = network.config
    low, high = c.cfg_interval
    return sum(low < t <= high for t in times(steps or c.steps, c.timestep_shift)[:-1])


def sampling_bound(
    limit: Ceiling, network: Bagel, batch: int, prompt: int, trace: int, steps: int | None
) -> float:
    """Least seconds to write ``batch`` traces after ``prompt`` tokens and draw their pictures, guided."""
    c = network.config
    text, head, generation = (matrices(network)[p][0] for p in ("text", "head", "generation"))
    size = network.vae2llm.weight.element_size()
    kept = 2 * c.num_layers * c.num_kv_heads * (c.hidden_size // c.num_heads) * size  # bytes a cached token
    looks = 4 * c.num_layers * c.hidden_size  # FLOPs of a token that looks at another

    total = limit.seconds(2 * batch * (text * prompt + head), (text + head) * size)
    for position in range(prompt, prompt + trace):
        flops = batch * (2 * (text + head) + looks * position)
        total += limit.seconds(flops, (text + head) * size + batch * kept * position)
    context, block = prompt + trace, c.image_tokens + 2
    steps = steps or c.steps
    guided = guided_steps(network, steps) if c.cfg != 1.0 else 0
    for branches, count in ((1, steps - guided), (2 if c.cfg_img == 1.0 else 3, guided)):
        rows = batch * branches
        each = 2 * (generation * c.image_tokens + 2 * text) + looks * block * (context + block)
        moved = (text + generation) * size + rows * kept * context
        total += count * limit.seconds(rows * each, moved)
    return total


def training_flops(network: Bagel, batch: UnifiedBatch) -> float:
    """Of one step, counted as ``trainer.meters`` does: without attention and without recomputation."""
    words = int(batch.text_mask.sum())
    tokens = {
        "text": words,
        "head": words,
        "generation": int(batch.image_mask.sum()) * network.config.image_tokens,
    }
    counts = matrices(network)
    return float(sum(n * (4 * counts[e][0] + 2 * counts[e][1]) for e, n in tokens.items()))
