"""Intervals that respect that the images of one prompt are not independent. numpy and scipy only.

Scores are clustered by prompt. The design effect (how much wider than independent images) is the
clustered variance (Miller, arXiv 2411.00640) over the variance of as many independent scores, shrunk
toward the usual one, because few prompts, or prompts that all fail, hardly show it. Graded scores vary
less than right and wrong, which few of them do not prove. Wilson's interval
on the effective sample size then holds at the edges and for small samples (arXiv 2503.01747), where
a normal one does not. ``python -m benchmarks.coverage`` prints what it covers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

DESIGN_EFFECT = 2.5  # of four images a prompt, for totals without rows (2.4 to 2.9 in published fits)
CORRELATION = 0.5  # of the images of a prompt (.47 to .63 in published fits): where shrinking goes
WEIGHT = 10.0  # prompts that split evenly which outweigh that expectation
DOUBT = 0.5  # prompts of right or wrong that stand beside graded ones, whose few values may lie close by luck


@dataclass(frozen=True)
class Estimate:
    """A mean with its interval; ``a`` and ``b`` are the Beta posterior that ranking integrates.

    ``effective``: independent right-or-wrong scores that would know as much. ``clusters`` 0: totals only.
    """

    mean: float
    low: float
    high: float
    a: float
    b: float
    clusters: int
    n: int
    effective: float = 0.0


def clustered(groups: Sequence[Sequence[float]], level: float = 0.95) -> Estimate:
    """Mean and interval of scores in [0, 1] grouped by prompt. Needs at least one score."""
    squares = float(sum(x * x for g in groups for x in g))
    return estimate(np.array([sum(g) for g in groups]), np.array([len(g) for g in groups]), squares, level)


def estimate(sums: np.ndarray, counts: np.ndarray, squares: float, level: float = 0.95) -> Estimate:
    """``clustered`` from each prompt's sum and number of scores, and the sum of all squared scores."""
    clusters, n = len(sums), int(counts.sum())
    mean = float(np.clip(sums.sum() / n, 0, 1))
    spread = mean * (1 - mean)
    single = max(squares / n - mean**2, 0.0)  # of one score; that of right and wrong is ``spread``
    graded = 1 - min(single / spread, 1.0) if spread > 0 else 0.0  # 0: right or wrong
    usual = 1 + (float((counts.astype(float) ** 2).sum()) / n - 1) * CORRELATION
    effect = usual
    if clusters > 1 and single > 1e-12:
        residual = sums - counts * mean
        variance = clusters / (clusters - 1) * float(residual @ residual) / n**2
        informed = (2 * min(mean, 1 - mean) * (1 - graded) + graded) * clusters
        effect = (informed * variance * n / single + WEIGHT * usual) / (informed + WEIGHT)
    effect = float(np.clip(effect, min(1.0, usual), max(float(counts.max()), usual)))
    known = (graded * clusters) / (clusters + DOUBT)  # how much less a score varies than right and wrong
    effective = n / effect / (1 - known)
    low, high = wilson(mean, effective, level)
    return Estimate(
        mean, low, high, mean * effective + 0.5, (1 - mean) * effective + 0.5, clusters, n, effective
    )


def wilson(mean: float, effective: float, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval for a share of ``effective`` independent trials."""
    z = float(special.ndtri((1 + level) / 2))
    centre = mean + z * z / (2 * effective)
    half = z * (mean * (1 - mean) / effective + z * z / (4 * effective**2)) ** 0.5
    scale = 1 + z * z / effective
    low, high = (centre - half) / scale, (centre + half) / scale
    return (0.0 if mean == 0 else max(low, 0.0)), (1.0 if mean == 1 else min(high, 1.0))


def from_total(mean: float, n: int, stderr: float | None = None, level: float = 0.95) -> Estimate:
    """An interval for a bare total of ``n`` images: by its standard error, or by the usual design effect."""
    effective = max(n / DESIGN_EFFECT, 1.0)
    if stderr and 0 < mean < 1:
        effective = max(mean * (1 - mean) / stderr**2, 1.0)
    low, high = wilson(mean, effective, level)
    return Estimate(mean, low, high, mean * effective + 0.5, (1 - mean) * effective + 0.5, 0, n, effective)


def below(found: Estimate, target: float) -> tuple[float, float]:
    """P(theta < target) and the expected shortfall E[(target - theta)+] under the Beta posterior."""
    a, b = found.a, found.b
    p = float(special.betainc(a, b, min(target, 1.0)))
    shortfall = target * p - a / (a + b) * float(special.betainc(a + 1, b, min(target, 1.0)))
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
    return Difference(float(delta.mean()), float(low), float(high), _p(delta))


def _p(delta: np.ndarray) -> float:
    """Of no difference. Deltas that all agree are as sure as a sign test of them, not beyond doubt."""
    if len(delta) < 2 or not delta.any():
        return 1.0
    if np.ptp(delta) <= 1e-12:
        return float(2.0 ** (1 - len(delta)))
    t = float(delta.mean() / (delta.std(ddof=1) / len(delta) ** 0.5))
    return float(2 * special.stdtr(len(delta) - 1, -abs(t)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p-values, in the order given."""
    order = np.argsort(p_values)
    adjusted = np.empty(len(p_values))
    running = 0.0
    for rank, index in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = running
    return [float(x) for x in adjusted]
