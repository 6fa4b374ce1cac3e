"""Near-duplicates among unit vectors, with FAISS: greedy, the preferred first.

Search is exact up to ``EXACT`` vectors; beyond, an inverted file finds the pairs and each is compared
exactly before anything is dropped, so it can only miss, never drop wrongly; lists that cannot hold a near
vector are skipped, as the triangle inequality tells (Elkan 2003). Sets larger than ``FITS`` go
through memory block by block. A row is only dropped for a keeper, never for another dropped row (the
clusters' stars of SemDeDup, Abbas et al. 2023, without k-means' fixed cells).
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

EXACT = 50_000  # vectors searched by brute force: minutes of one core
FITS = 200_000  # vectors in memory at once, twice: 1.2 GB of pictures
FEW = 256  # vectors whose products are cheaper than an index
PROBES = 32  # inverted lists looked at for each vector
ROUNDING = 1e-5  # of a product of unit vectors
CHUNK = 8192  # vectors searched at once, to bound the memory of what is found


def near_duplicates(
    vectors: np.ndarray, order: Sequence[int] | np.ndarray, threshold: float, exact: int = EXACT
) -> dict[int, int]:
    """``{dropped row: keeper row}`` for unit ``vectors`` [n, d]; earlier in ``order`` wins."""
    if len(order) < 2:
        return {}
    ordered = np.ascontiguousarray(vectors[np.asarray(order)], np.float32)
    found = _few(ordered, threshold) if len(ordered) <= FEW else _many(ordered, threshold, exact)
    return {int(order[gone]): int(order[keeper]) for gone, keeper in found.items()}


def near_duplicates_in_blocks(
    load: Callable[[np.ndarray], np.ndarray], n: int, threshold: float, block: int = FITS, exact: int = EXACT
) -> dict[int, int]:
    """``near_duplicates`` of rows 0 to n in this order, where ``load(rows)`` gives their vectors.

    Each block is compared with the keepers of every block before it, then with itself: what stays is what
    would stay in one piece, and two blocks are in memory.
    """
    gone: dict[int, int] = {}
    kept: list[np.ndarray] = []
    for start in range(0, n, block):
        rows = np.arange(start, min(start + block, n))
        here = np.ascontiguousarray(load(rows), np.float32)
        for keepers in kept:
            best = np.ascontiguousarray(load(keepers), np.float32)
            keeper = _first_within(best, here, threshold, exact)
            gone |= {int(row): int(keepers[k]) for row, k in zip(rows, keeper) if k >= 0}
            rows, here = rows[keeper < 0], here[keeper < 0]
        found = near_duplicates(here, np.arange(len(rows)), threshold, exact)
        gone |= {int(rows[i]): int(rows[keeper]) for i, keeper in found.items()}
        if len(found) < len(rows):
            kept.append(rows[~np.isin(np.arange(len(rows)), list(found))])
    return gone


def _few(vectors: np.ndarray, threshold: float) -> dict[int, int]:
    """``{dropped: keeper}`` by all products at once."""
    near = np.triu(vectors @ vectors.T > threshold, 1)
    gone: dict[int, int] = {}
    for keeper in np.flatnonzero(near.any(axis=1)).tolist():
        if keeper not in gone:
            for other in np.flatnonzero(near[keeper]).tolist():
                gone.setdefault(other, keeper)
    return gone


def _many(vectors: np.ndarray, threshold: float, exact: int) -> dict[int, int]:
    """``{dropped: keeper}`` by an index; the first searches are small, as what one finds is searched no more."""
    index = _index(vectors, exact)
    gone: dict[int, int] = {}
    start = 0
    while start < len(vectors):
        end = start + min(max(FEW, start), CHUNK)
        rows = [row for row in range(start, min(end, len(vectors))) if row not in gone]
        limits, _, found = index.range_search(vectors[rows], threshold) if rows else ([], None, None)
        for i, row in enumerate(rows):
            if row not in gone:
                for other in found[limits[i] : limits[i + 1]].tolist():
                    if other > row:  # also where rounding makes a.b and b.a differ, a keeper stays one
                        gone.setdefault(other, row)
        start = end
    return gone


def _first_within(keepers: np.ndarray, vectors: np.ndarray, threshold: float, exact: int) -> np.ndarray:
    """[n] the number of the first of ``keepers`` within ``threshold`` of each of ``vectors`` [n, d], or -1."""
    if len(keepers) * len(vectors) <= FEW**2:
        near = vectors @ keepers.T > threshold
        return np.where(near.any(axis=1), near.argmax(axis=1), -1)
    index = _index(keepers, exact)
    out = np.full(len(vectors), -1, np.int64)
    for start in range(0, len(vectors), CHUNK):
        limits, _, found = index.range_search(vectors[start : start + CHUNK], threshold)
        some = np.flatnonzero(np.diff(limits.astype(np.int64)))
        if len(some):
            out[start + some] = np.minimum.reduceat(found, limits[some].astype(np.int64))
    return out


def _index(vectors: np.ndarray, exact: int) -> Any:
    """All vectors, to be asked ``range_search``; similarities it compares are of the vectors as given."""
    import faiss

    if len(vectors) > exact:
        return _Lists(vectors)
    flat = faiss.IndexFlatIP(vectors.shape[1])
    flat.add(vectors)
    return flat


class _Lists:
    """An inverted file of unit vectors: each lies in the list of the centroid it is most like."""

    def __init__(self, vectors: np.ndarray) -> None:
        import faiss

        n, dimension = vectors.shape
        lists = int(4 * n**0.5)
        self.coarse = faiss.IndexFlatIP(dimension)
        self.file = faiss.IndexIVFFlat(self.coarse, dimension, lists, faiss.METRIC_INNER_PRODUCT)
        self.file.train(vectors[np.random.default_rng(0).permutation(n)[: 40 * lists]])
        self.file.add(vectors)
        self.file.nprobe = min(PROBES, lists)
        centroids = self.coarse.reconstruct_n(0, lists)
        products = centroids @ centroids.T
        square = np.diag(products)
        self.apart = np.sqrt(np.maximum(square[:, None] + square - 2 * products, 0))

    def range_search(
        self, vectors: np.ndarray, threshold: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """As FAISS's, without the lists that cannot hold what is near.

        Let b, in the list of c, be within ``threshold`` of a, whose best centroid is m. Then b.c >= b.m and
        |a - b| <= sqrt(2 - 2 threshold), so that a.(m - c) = b.(m - c) + (a - b).(m - c) <= |a - b| |m - c|.
        """
        likeness, probed = self.coarse.search(vectors, self.file.nprobe)
        reach = self.apart[probed[:, :1], probed] * max(2 - 2 * threshold, 0) ** 0.5
        probed[likeness[:, :1] - likeness > reach + ROUNDING] = -1  # which FAISS skips
        found: tuple[np.ndarray, np.ndarray, np.ndarray] = self.file.range_search_preassigned(
            vectors, threshold, probed, likeness
        )
        return found


class Index:
    """Unit vectors that grow while they are searched."""

    def __init__(self, dimension: int) -> None:
        import faiss

        self.faiss = faiss.IndexFlatIP(dimension)

    def add(self, vectors: np.ndarray) -> None:
        self.faiss.add(np.ascontiguousarray(vectors))

    def within(self, vectors: np.ndarray, threshold: float) -> list[np.ndarray]:
        """For each row the numbers of the stored that are at or above ``threshold``."""
        limits, _, found = self.faiss.range_search(np.ascontiguousarray(vectors), threshold)
        return np.split(found, limits[1:-1].astype(int))

    def nearest(self, vectors: np.ndarray, k: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """``(similarities, numbers)``, each [n, k]."""
        return self.faiss.search(np.ascontiguousarray(vectors), k)
