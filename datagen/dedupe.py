"""Near-duplicates with FAISS: prompts before rendering (cheap), images after scoring (keep the best).

Images are compared within one target only: a scene with two circles and one with three are near in
any embedding, and both are wanted. The embedding is the picture itself, 16 x 16, centred and
normalised: exact copies and tiny shifts score above 0.99, another layout far below. A learned
embedding would need a download; for photographs it belongs here.

Search is exact up to ``EXACT`` vectors; beyond, an inverted file finds the pairs and each is compared
exactly before anything is dropped, so it can only miss, never drop wrongly. Sets of pictures are searched target by
target, which is exact and can be done anywhere in any order: that is how it goes past one machine.
Across targets only pictures whose vectors are the same bit for bit are copies. Prompts are searched by
``Index`` (``guard``). ``benchmarks.dedupe`` has time, memory and recall.
"""

import io
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from datagen.sample import Sample

SIDE = 16
EXACT = 50_000  # vectors searched by brute force: minutes of one core
PROBES = 32  # inverted lists looked at for each vector
CHUNK = 8192  # vectors searched at once, to bound the memory of what is found
Vector = np.ndarray  # [d], unit length


def image_vector(image: bytes) -> np.ndarray:
    """[768] float32, unit length (zeros for a blank picture)."""
    from PIL import Image

    small = Image.open(io.BytesIO(image)).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX)
    pixels = np.asarray(small, dtype=np.float32).reshape(-1, 3)
    vector = (pixels - np.median(pixels, axis=0)).astype(np.float32).ravel()
    norm = float(np.linalg.norm(vector))
    return vector / norm if norm else vector


def near_duplicates(
    vectors: np.ndarray, order: Sequence[int], threshold: float, exact: int = EXACT
) -> dict[int, int]:
    """``{dropped row: keeper row}`` for unit ``vectors`` [n, d]: greedy, earlier in ``order`` wins.

    A row is only dropped for a keeper, never for another dropped row (the clusters' stars of SemDeDup,
    Abbas et al. 2023, without k-means' fixed cells).
    """
    if len(vectors) < 2:
        return {}
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    index = _index(vectors, exact)
    gone: dict[int, int] = {}
    kept: set[int] = set()  # a keeper stays one, also where rounding makes a.b and b.a differ
    for start in range(0, len(order), CHUNK):
        rows = [row for row in order[start : start + CHUNK] if row not in gone]
        limits, _, found = index.range_search(vectors[rows], threshold)
        for i, row in enumerate(rows):
            if row in gone:
                continue
            kept.add(row)
            for other in found[limits[i] : limits[i + 1]].tolist():
                if other not in kept and other not in gone:
                    gone[other] = row
    return gone


def _index(vectors: np.ndarray, exact: int) -> Any:
    """All vectors in a FAISS index by inner product; similarities it returns are of the vectors as given."""
    import faiss

    n, dimension = vectors.shape
    flat = faiss.IndexFlatIP(dimension)
    if n <= exact:
        flat.add(vectors)
        return flat
    lists = int(4 * n**0.5)
    index = faiss.IndexIVFFlat(flat, dimension, lists, faiss.METRIC_INNER_PRODUCT)
    rows = np.random.default_rng(0).permutation(n)[: 40 * lists]
    index.train(vectors[rows])
    index.add(vectors)
    index.nprobe = min(PROBES, lists)
    return index


def dedupe_images(
    samples: Sequence[Sample], threshold: float, vectors: Sequence[Vector | None] | None = None
) -> list[Sample]:
    """Mark near-duplicate pictures of one target as dropped; the highest reward stays. Keeps order.

    ``vectors`` are the pictures' own, where these are not at hand.
    """
    if vectors is None:
        vectors = [None if s.image is None else image_vector(s.image) for s in samples]
    keys: dict[str, list[int]] = {}
    for i, sample in enumerate(samples):
        if sample.image is not None and not sample.dropped:
            keys.setdefault(sample.target.key, []).append(i)
    done = list(samples)
    for members in keys.values():
        best = sorted(range(len(members)), key=lambda j: _first(samples[members[j]]))
        stacked = np.stack([vectors[i] for i in members])  # type: ignore[misc]
        for gone, keeper in near_duplicates(stacked, best, threshold).items():
            reason = f"near_duplicate of {samples[members[keeper]].id}"
            done[members[gone]] = replace(samples[members[gone]], dropped=reason)
    copies: dict[bytes, int] = {}
    left = [i for members in keys.values() for i in members if not done[i].dropped]
    for i in sorted(left, key=lambda i: _first(samples[i])):
        vector = vectors[i]
        keeper = copies.setdefault(vector.tobytes(), i) if vector is not None and vector.any() else i
        if keeper != i:
            done[i] = replace(samples[i], dropped=f"near_duplicate of {samples[keeper].id}")
    return done


def _first(sample: Sample) -> tuple[float, str]:
    """The order in which samples are kept."""
    return -(sample.reward or 0.0), sample.id


class Index:
    """Unit vectors that grow while they are searched."""

    def __init__(self, dimension: int) -> None:
        import faiss

        self.faiss = faiss.IndexFlatIP(dimension)

    def add(self, vectors: np.ndarray) -> None:
        self.faiss.add(np.ascontiguousarray(vectors))

    def count(self, vectors: np.ndarray, threshold: float) -> list[int]:
        """For each row how many of the stored are at or above ``threshold``: a crowd is never listed."""
        if not self.faiss.ntotal:
            return [0] * len(vectors)
        return np.diff(
            self.faiss.range_search(np.ascontiguousarray(vectors), threshold)[0].astype(int)
        ).tolist()

    def nearest(self, vectors: np.ndarray, k: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """``(similarities, numbers)``, each [n, k]."""
        return self.faiss.search(np.ascontiguousarray(vectors), k)
