"""Empirical-Bayes shrinkage of small groups toward their parent: a few prompts' luck is not a weakness.

Siblings are drawn from a Beta around their parent's mean; how tightly is read off the siblings
themselves by the method of moments (DerSimonian and Laird's between-group variance). Two siblings say
nothing about their spread and are left alone. The interval shown stays the group's own; ranking and
budget use the shrunk posterior.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from datagen.statistics import Estimate

FEWEST = 3  # siblings


def shrink(siblings: Sequence[Estimate], parent: float) -> list[Estimate]:
    """The siblings with ``a`` and ``b`` pulled toward ``parent``, their mean."""
    strength = prior_strength(siblings, parent)
    pulled = [strength * parent, strength * (1 - parent)]
    return [
        replace(e, a=e.mean * e.effective + max(pulled[0], 0.5), b=(1 - e.mean) * e.effective + max(pulled[1], 0.5))
        for e in siblings
    ]


def prior_strength(siblings: Sequence[Estimate], parent: float) -> float:
    """How many effective scores the parent's mean is worth; 0 where the siblings cannot say.

    Never more than all siblings together have: the parent cannot know more than they do.
    """
    if len(siblings) < FEWEST or not 0 < parent < 1:
        return 0.0
    means = np.array([e.mean for e in siblings])
    effective = np.array([e.effective for e in siblings])
    # The variance of a sibling's mean were its truth the parent's: not zero where all fail.
    within = parent * (1 - parent) / effective
    weight = 1 / within
    centre = float(weight @ means / weight.sum())
    q = float(weight @ (means - centre) ** 2)
    scale = float(weight.sum() - (weight**2).sum() / weight.sum())
    between = max((q - (len(siblings) - 1)) / scale, 0.0)
    most = float(effective.sum())
    if between <= 0:
        return most
    return float(np.clip(parent * (1 - parent) / between - 1, 0.0, most))
