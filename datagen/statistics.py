"""Intervals that respect that the images of one prompt are not independent. numpy and scipy only.

Scores are clustered by prompt: the unit is the prompt's mean. Clustered standard errors with t on
C - 1 degrees of freedom (Miller, arXiv 2411.00640); at the edges, or for few prompts, a Beta
interval on the effective sample size (arXiv 2503.01747 on small samples).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

DESIGN_EFFECT = 2.5  # of four images a prompt, for totals without rows (2.4 to 2.9 in published fits)
FEW = 20  # prompts below which the t interval is not trusted


@dataclass(frozen=True)
class Estimate:
    """A mean with its interval; ``a`` and ``b`` are the Beta posterior that ranking integrates."""

    mean: float
    low: float
    high: float
    a: float
    b: float
    clusters: int
    n: int


def clustered(groups: Sequence[Sequence[float]], level: float = 0.95) -> Estimate:
    """Mean and interval of scores in [0, 1] grouped by prompt. Needs at least one score."""
    means = np.array([np.mean(g) for g in groups], dtype=float)
    sizes = np.array([len(g) for g in groups], dtype=float)
    clusters, n = len(means), int(sizes.sum())
    mean = float((means * sizes).sum() / n)
    variance = 0.0
    if clusters > 1:
        residual = sizes * (means - mean)
        variance = float(clusters / (clusters - 1) * (residual**2).sum() / n**2)
    binomial = mean * (1 - mean) / n
    # Effective n: what an independent sample of this variance would have; one image a prompt at least.
    effective = mean * (1 - mean) / variance if variance > 0 else float(clusters)
    effective = float(np.clip(effective, min(clusters, n) * 0.5, n)) if binomial > 0 else float(clusters)
    a, b = mean * effective + 0.5, (1 - mean) * effective + 0.5
    alpha = (1 - level) / 2
    if clusters < FEW or variance == 0 or min(mean, 1 - mean) * clusters < 5:
        low, high = (float(x) for x in stats.beta.ppf([alpha, 1 - alpha], a, b))
        low, high = (0.0 if mean == 0 else low), (1.0 if mean == 1 else high)
    else:
        half = float(stats.t.ppf(1 - alpha, clusters - 1)) * variance**0.5
        low, high = max(mean - half, 0.0), min(mean + half, 1.0)
    return Estimate(mean, low, high, a, b, clusters, n)


def from_total(mean: float, n: int, level: float = 0.95) -> Estimate:
    """An interval for a bare total of ``n`` images, widened by the usual design effect."""
    effective = max(n / DESIGN_EFFECT, 1.0)
    a, b = mean * effective + 0.5, (1 - mean) * effective + 0.5
    alpha = (1 - level) / 2
    low, high = (float(x) for x in stats.beta.ppf([alpha, 1 - alpha], a, b))
    return Estimate(mean, 0.0 if mean == 0 else low, 1.0 if mean == 1 else high, a, b, 0, n)


def below(estimate: Estimate, target: float) -> tuple[float, float]:
    """P(theta < target) and the expected shortfall E[(target - theta)+] under the Beta posterior."""
    a, b = estimate.a, estimate.b
    p = float(stats.beta.cdf(target, a, b))
    shortfall = target * p - a / (a + b) * float(stats.beta.cdf(target, a + 1, b))
    return p, max(shortfall, 0.0)


@dataclass(frozen=True)
class Difference:
    """A paired difference of means, its bootstrap interval and two-sided p-value."""

    mean: float
    low: float
    high: float
    p: float


def paired_bootstrap(
    before: Sequence[float], after: Sequence[float], seed: int = 0, rounds: int = 10_000, level: float = 0.95
) -> Difference:
    """Bootstrap over prompts of the difference of their means; t-based p-value on the prompts."""
    delta = np.asarray(after, dtype=float) - np.asarray(before, dtype=float)
    rng = np.random.default_rng(seed)
    draws = np.empty(rounds)
    for start in range(0, rounds, 500):  # bounded memory for many prompts
        count = min(500, rounds - start)
        draws[start : start + count] = delta[rng.integers(0, len(delta), (count, len(delta)))].mean(1)
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    p = 1.0 if len(delta) < 2 or (delta.std() == 0 and delta[0] == 0) else float(_p(delta))
    return Difference(float(delta.mean()), float(low), float(high), p)


def _p(delta: np.ndarray) -> float:
    if delta.std() == 0:
        return 0.0
    return float(stats.ttest_1samp(delta, 0.0).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p-values, in the order given."""
    order = np.argsort(p_values)
    adjusted = np.empty(len(p_values))
    running = 0.0
    for rank, index in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = running
    return [float(x) for x in adjusted]
