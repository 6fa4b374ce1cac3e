"""Advantage to weight, for each modality: reward-weighted regression, A = r - mean, w = exp(A / beta).

Traps that are designed out: an all-wrong group teaches nothing (everything under ``floor`` weighs
0); the mean is taken over the whole group, before dedupe; a group whose members are all equally
right keeps weight 1 each (it confirms, it does not teach, and keeps skills from drifting); weights
are never negative. Weights are clipped at ``max`` before and after they are normalised to mean 1
over the group's K. Peters & Schaal 2007; Lee et al. 2023 for text-to-image.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import exp

from datagen.combine import combined, imitable
from datagen.recipe import Recipe, Weights
from datagen.sample import Sample


def rwr(
    rewards: Sequence[float | None], settings: Weights, imitable: Sequence[bool] | None = None
) -> list[float]:
    """Weights [K] of one group for one modality; None (unscored) weighs 0 and is in no mean.

    ``imitable`` False weighs 0 and is in the mean: a reward's own floor was missed.
    """
    allowed = imitable if imitable is not None else [True] * len(rewards)
    known = [r for r in rewards if r is not None]
    if not known:
        return [0.0] * len(rewards)
    mean = sum(known) / len(known)
    raw = [
        min(exp(min((r - mean) / settings.temperature, 50.0)), settings.max)
        if r is not None and r >= settings.floor and may
        else 0.0
        for r, may in zip(rewards, allowed, strict=True)
    ]
    total = sum(raw)
    if total == 0:
        return raw
    return [min(w * len(known) / total, settings.max) for w in raw]


def weigh(samples: Sequence[Sample], recipe: Recipe) -> list[Sample]:
    """Set ``advantage`` and both weights on every sample, group by group; order is kept.

    A dropped sample weighs 0 but counts in its group's mean if it was scored.
    """
    groups: dict[str, list[int]] = {}
    for i, sample in enumerate(samples):
        groups.setdefault(sample.group_id, []).append(i)
    done = list(samples)
    for members in groups.values():
        group = [samples[i] for i in members]
        image, text = (combined(group, recipe.rewards, m) for m in ("image", "text"))
        known = [r for r in image if r is not None]
        mean = sum(known) / len(known) if known else 0.0
        image_weights = rwr(image, recipe.weights, [imitable(s, recipe.rewards, "image") for s in group])
        text_weights = rwr(text, recipe.weights, [imitable(s, recipe.rewards, "text") for s in group])
        for i, reward, wi, wt in zip(members, image, image_weights, text_weights, strict=True):
            sample = samples[i]
            kept = not sample.dropped
            done[i] = replace(
                sample,
                advantage=None if reward is None else reward - mean,
                image_weight=wi if kept and sample.image is not None else 0.0,
                text_weight=wt if kept and sample.trace else 0.0,
            )
    return done


def ess(weights: Sequence[float]) -> float:
    """Effective sample size, (sum w)^2 / sum w^2; 0 for no weight at all."""
    square = sum(w * w for w in weights)
    return sum(weights) ** 2 / square if square else 0.0


def summary(samples: Sequence[Sample]) -> Mapping[str, float]:
    """ESS of both modalities over kept samples."""
    return {
        "text": ess([s.text_weight for s in samples]),
        "image": ess([s.image_weight for s in samples]),
    }
