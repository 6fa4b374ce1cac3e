"""Do the parts of a category differ? A test for any facet, with multiple-testing correction left to the caller.

One statistic for every case. ``T`` sums, for each value, its prompts' scores minus their expectation
under "no part differs"; ``T' C^+ T`` is chi-squared with C's rank. Where a facet belongs to the
prompt (what it asks for), C is the exact covariance under permutation of the prompts, as in the
Kruskal-Wallis test, but also for values that overlap (a prompt with two colours). Where it varies
within a prompt (questions about one image), C is the covariance clustered by prompt, and the statistic
Hotelling's. ``python -m benchmarks.coverage`` prints how often it splits what does not differ.
"""

from dataclasses import dataclass

import numpy as np
from scipy import special

from datagen.statistics import Estimate
from datagen.tally import Rows

FEWEST = 5  # prompts of a value before it is looked at (EvalTree's minimum)
MOST = 200  # values of one facet; the rarest beyond it are left together


@dataclass(frozen=True)
class Test:
    """``values`` that were compared, how each stands to the rest (z, below 0: worse), and the p-value."""

    dimension: str
    values: tuple[str, ...]
    z: tuple[float, ...]
    p: float


def dimensions(rows: Rows) -> list[str]:
    """The facets' names, in the order they appear."""
    present = np.unique(rows.signature)
    return list(dict.fromkeys(d for s in present for d, _ in rows.facets[s]))


def members(rows: Rows, dimension: str, value: str) -> np.ndarray:
    """For each signature, whether it has that value."""
    return np.array([(dimension, value) in facets for facets in rows.facets], dtype=bool)


def differ(rows: Rows, dimension: str) -> Test | None:
    """Whether the values of ``dimension`` differ; None where fewer than two have enough prompts."""
    sums, counts = rows.by_prompt()
    values, table = _table(rows, dimension)
    if len(values) < 2 or rows.prompts < 2 * FEWEST:
        return None
    kinds, kind = np.unique(table, axis=0, return_inverse=True)
    of_row = kind.ravel()[rows.signature]
    same_prompt = rows.prompt[1:] == rows.prompt[:-1]
    if np.any(same_prompt & (of_row[1:] != of_row[:-1])):
        return _within(rows, dimension, values, table)
    first = np.concatenate([[True], ~same_prompt])
    return _between(dimension, values, sums / counts, of_row[first], kinds.astype(float))


def _table(rows: Rows, dimension: str) -> tuple[list[str], np.ndarray]:
    """The values with enough prompts, and which of them each signature has."""
    asked = [[v for d, v in facets if d == dimension] for facets in rows.facets]
    index: dict[str, int] = {}
    for s in np.unique(rows.signature):
        for v in asked[s]:
            index.setdefault(v, len(index))
    full = np.zeros((len(asked), len(index)), dtype=bool)
    for s, mine in enumerate(asked):
        for v in mine:
            if v in index:
                full[s, index[v]] = True
    prompts = [int(np.unique(rows.prompt[full[rows.signature, i]]).size) for i in range(len(index))]
    kept = sorted((i for i, n in enumerate(prompts) if n >= FEWEST), key=lambda i: (-prompts[i], i))[:MOST]
    kept.sort()
    names = list(index)
    return [names[i] for i in kept], full[:, kept]


def _between(
    dimension: str, values: list[str], means: np.ndarray, kind: np.ndarray, kinds: np.ndarray
) -> Test:
    """The facet belongs to the prompt: exact moments under permutation of the prompts' means."""
    total, (moved, cov) = len(means), moments(means, kind, kinds)
    if total < 2 or not cov.any():
        return Test(dimension, tuple(values), (0.0,) * len(values), 1.0)
    return _verdict(dimension, values, moved, cov, 0)


def moments(means: np.ndarray, kind: np.ndarray, kinds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each value's sum of means over its expectation, and the covariance, under permutation.

    ``means`` (P,) of prompts, ``kind`` (P,) indexes ``kinds`` (K, V): which values a prompt has.
    """
    size = np.bincount(kind, minlength=len(kinds)).astype(float)
    moved = kinds.T @ (np.bincount(kind, means, minlength=len(kinds)) - size * means.mean())
    n = kinds.T @ size
    variance = float(means.var(ddof=1)) if len(means) > 1 else 0.0
    return moved, variance * (kinds.T @ (kinds * size[:, None]) - np.outer(n, n) / len(means))


def _within(rows: Rows, dimension: str, values: list[str], table: np.ndarray) -> Test:
    """The facet varies within prompts: the covariance is clustered by prompt."""
    residual = rows.score - rows.score.mean()
    moves = np.empty((rows.prompts, len(values)))
    whole = np.bincount(rows.prompt, residual)
    for i in range(len(values)):
        mine = table[rows.signature, i]
        moves[:, i] = np.bincount(rows.prompt, residual * mine) - mine.mean() * whole
    cov = rows.prompts / (rows.prompts - 1) * (moves.T @ moves)
    return _verdict(dimension, values, moves.sum(0), cov, rows.prompts)


def _verdict(dimension: str, values: list[str], moved: np.ndarray, cov: np.ndarray, clusters: int) -> Test:
    scale = np.sqrt(np.maximum(np.diag(cov), 0))
    z = np.divide(moved, scale, out=np.zeros_like(moved), where=scale > 1e-12)
    rank = int(np.linalg.matrix_rank(cov, hermitian=True))
    statistic = float(moved @ np.linalg.pinv(cov, hermitian=True) @ moved)
    if rank == 0:
        p = 1.0
    elif not clusters:
        p = float(special.chdtrc(rank, statistic))
    elif clusters > rank:
        p = float(
            special.fdtrc(rank, clusters - rank, statistic * (clusters - rank) / (rank * (clusters - 1)))
        )
    else:
        p = 1.0
    return Test(dimension, tuple(values), tuple(float(x) for x in z), p)


def totals_differ(dimension: str, values: list[str], parts: list[Estimate]) -> Test:
    """The same question where only totals are known: chi-squared on the effective sample sizes."""
    means, effective = np.array([e.mean for e in parts]), np.array([e.effective for e in parts])
    mean = float(effective @ means / effective.sum())
    spread = mean * (1 - mean)
    if spread <= 0 or len(parts) < 2:
        return Test(dimension, tuple(values), (0.0,) * len(values), 1.0)
    z = (means - mean) / np.sqrt(spread / effective)
    return Test(
        dimension, tuple(values), tuple(map(float, z)), float(special.chdtrc(len(parts) - 1, float(z @ z)))
    )
