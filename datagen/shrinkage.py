"""Shrinkage of small groups toward their parent: a few prompts' luck is not a weakness.

Siblings are drawn from a Beta around their parent's mean. How tightly, and around what, is read off the
siblings themselves (empirical Bayes), but not as one number each: a few siblings hardly show it, and a
single guess makes the posterior too sure. So both are integrated over a grid, under a prior that
leans to little shrinkage (density 1 / the parent's share, next to Daniels' 1999 uniform one), and each
sibling's mixture of Betas is replaced by the Beta of its mean and variance. Two siblings say nothing
about their spread and are left alone. The interval shown stays the group's own; ranking and budget use
this posterior. ``python -m benchmarks.coverage`` prints its coverage and error.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy import special

from datagen.statistics import Estimate

FEWEST = 3  # siblings
SHARES = np.linspace(0.02, 0.98, 33)  # the parent's share in a typical sibling's posterior mean
AROUND = np.linspace(-2.5, 2.5, 11)  # standard errors around the parent's mean
LEAST = 0.02  # spread of siblings that is reckoned with, even where they agree


def shrink(siblings: Sequence[Estimate], parent: float) -> list[Estimate]:
    """The siblings with ``a`` and ``b`` pulled toward ``parent``, their mean."""
    if len(siblings) < FEWEST or not 0 < parent < 1:
        return list(siblings)
    means, effective = np.array([e.mean for e in siblings]), np.array([e.effective for e in siblings])
    right = means * effective
    strength = SHARES / (1 - SHARES) * len(siblings) / (1 / effective).sum()  # harmonic mean of the sizes
    error = max(float(means.std()), LEAST) / len(siblings) ** 0.5
    strength, centre = strength[:, None, None], np.clip(parent + AROUND * error, 0.01, 0.99)[None, :, None]
    a = strength * centre + right  # (strengths, centres, siblings)
    b = strength * (1 - centre) + effective - right
    likely = (special.betaln(a, b) - special.betaln(strength * centre, strength * (1 - centre))).sum(2)
    likely -= np.log(SHARES)[:, None]
    weight = np.exp(likely - likely.max())
    weight /= weight.sum()
    each = a / (a + b)
    mean = np.einsum("sc,sck->k", weight, each)
    variance = np.einsum("sc,sck->k", weight, each * (1 - each) / (a + b + 1) + (each - mean) ** 2)
    size = np.maximum(mean * (1 - mean) / variance - 1, 1.0)
    return [
        replace(e, a=float(m * s), b=float((1 - m) * s)) for e, m, s in zip(siblings, mean, size, strict=True)
    ]
