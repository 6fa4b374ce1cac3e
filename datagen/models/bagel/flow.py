"""The sampler of the rectified flow: its times, its Euler steps, and guidance with renormalisation.

Apart from the network, so that each can be held against numbers worked out by hand. ``t`` runs from 1
(noise) to 0 (image); a velocity is ``noise - image``. Follows ByteDance-Seed/Bagel ``bagel.py``
(``generate_image``, ``_forward_flow``).
"""

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from datagen.models.bagel.config import Renorm


def shifted(t: Tensor, shift: float) -> Tensor:
    """Times in [0, 1] moved towards the noise, as larger images need it."""
    return shift * t / (1 + (shift - 1) * t)


def times(steps: int, shift: float) -> list[float]:
    """``steps + 1`` times from 1 to 0."""
    return shifted(torch.linspace(1, 0, steps + 1), shift).tolist()


def integrate(velocity: Callable[[Tensor, float], Tensor], x: Tensor, at: list[float]) -> Tensor:
    """Euler steps of ``dx = velocity(x, t) dt`` through the times ``at``."""
    for now, later in pairwise(at):
        x = x + (later - now) * velocity(x, now)
    return x


def guide(
    conditional: Tensor,
    unconditional: Tensor,
    scale: float,
    renorm: Renorm = "none",
    floor: float = 0.0,
    traceless: Tensor | None = None,
    trace_scale: float = 1.0,
) -> Tensor:
    """Classifier-free guidance on velocities [n, N, patch_dim].

    ``traceless`` is the branch that saw the prompt but not its trace, for upstream's second scale.
    ``renorm`` takes the result's norm back to the conditional's, by at most the factor ``floor``: over a
    whole sample (``global``), each patch (``channel``), or each patch before the second scale
    (``text_channel``). Upstream's "global" spans its one packed sample; here it is per sample.
    """

    def capped(v: Tensor, dims: tuple[int, ...]) -> Tensor:
        ratio = conditional.norm(dim=dims, keepdim=True) / v.norm(dim=dims, keepdim=True).clamp(min=1e-8)
        return v * ratio.clamp(min=floor, max=1.0)

    v = unconditional + scale * (conditional - unconditional)
    if renorm == "text_channel":
        v = capped(v, (2,))
    if traceless is not None and trace_scale != 1.0:
        v = traceless + trace_scale * (v - traceless)
    if renorm == "global":
        v = capped(v, (1, 2))
    elif renorm == "channel":
        v = capped(v, (2,))
    return v
