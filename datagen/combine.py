"""Scores to one reward in [0, 1] for each modality: gates, a common scale within the group, weights.

In this order, as the recipe declares it:

1. **Gates.** A score under its gate makes the reward 0, whatever else was said or left unsaid: the
   picture is wrong. It stays in its group's mean.
2. **None.** Otherwise one counted score that is missing makes the reward None: unscored is not 0.
3. **Scale.** ``raw`` takes scores as they are (only for rewards on 0 to 1). ``rank`` replaces each by
   its mid-rank in the group, (rank - 1/2) / n; ``zscore`` by the normal quantile of (score - mean) / sd.
   Both compare only those of one prompt that passed the gates, so that no judge's scale decides and a
   group that is all wrong has no winner. Equal scores get 1/2.
4. **Weights.** The weighted mean.

A **floor** is no part of the reward: under it a sample is right but not worth imitating, so
``weights`` gives it 0. Left out: learned combinations; a constant-free product (it is a gate).
"""

from collections.abc import Sequence
from math import erf, sqrt

from datagen.recipe import Modality, Rewards
from datagen.sample import Sample


def combined(group: Sequence[Sample], rewards: Rewards, modality: Modality) -> list[float | None]:
    """The reward of each sample of one group, or None where it cannot be told."""
    weights = {n: w for n, w in (rewards.image if modality == "image" else rewards.text).items() if w}
    gates, floors = rewards.gates.get(modality, {}), rewards.floors.get(modality, {})
    out: list[float | None] = [None] * len(group)
    passed = []
    for i, sample in enumerate(group):
        if any((v := sample.score(n)) is not None and v < least for n, least in gates.items()):
            out[i] = 0.0
        elif all(sample.score(n) is not None for n in (*weights, *gates, *floors)):
            passed.append(i)
    if not passed:
        return out
    total = sum(weights.values())
    sums = [0.0] * len(passed)
    for name, weight in weights.items():
        values = [group[i].score(name) or 0.0 for i in passed]
        for k, value in enumerate(scaled(values, rewards.scale.get(modality, "raw"))):
            sums[k] += weight * value
    for k, i in enumerate(passed):
        out[i] = sums[k] / total
    return out


def scaled(values: Sequence[float], scale: str) -> list[float]:
    """Scores of one judge on one group, made comparable with another judge's."""
    n = len(values)
    if scale == "raw":
        return list(values)
    if scale == "rank":
        return [(sum(w < v for w in values) + 0.5 * sum(w == v for w in values)) / n for v in values]
    mean = sum(values) / n
    sd = sqrt(sum((v - mean) ** 2 for v in values) / n)
    if sd <= 1e-9 * max(1.0, abs(mean)):
        return [0.5] * n
    return [0.5 * (1 + erf((v - mean) / sd / sqrt(2))) for v in values]


def imitable(sample: Sample, rewards: Rewards, modality: Modality) -> bool:
    """Whether the sample reaches every floor of its modality."""
    return all(
        (value := sample.score(name)) is not None and value >= least
        for name, least in rewards.floors.get(modality, {}).items()
    )
