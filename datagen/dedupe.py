"""Near-duplicates with FAISS: prompts before rendering (cheap), images after scoring (keep the best).

Images are compared within one target only: a scene with two circles and one with three are near in
any embedding, and both are wanted. The embedding is the picture itself, 16 x 16, centred and
normalised: exact copies and tiny shifts score above 0.99, another layout far below. A learned
embedding would need a download; for photographs it belongs here.

Prompts are searched by the same index (``guard``). Search is exact (``IndexFlatIP``).
"""

import io
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from datagen.sample import Sample

SIDE = 16


def image_vector(image: bytes) -> np.ndarray:
    """[768] float32, unit length (zeros for a blank picture)."""
    from PIL import Image

    small = Image.open(io.BytesIO(image)).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX)
    pixels = np.asarray(small, dtype=np.float32).reshape(-1, 3)
    vector = (pixels - np.median(pixels, axis=0)).astype(np.float32).ravel()
    norm = float(np.linalg.norm(vector))
    return vector / norm if norm else vector


def near_duplicates(vectors: np.ndarray, order: Sequence[int], threshold: float) -> dict[int, int]:
    """``{dropped row: keeper row}`` for unit ``vectors`` [n, d]: greedy, earlier in ``order`` wins."""
    import faiss

    if len(vectors) < 2:
        return {}
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(np.ascontiguousarray(vectors))
    limits, _, neighbours = index.range_search(np.ascontiguousarray(vectors), threshold)
    gone: dict[int, int] = {}
    kept: set[int] = set()  # a keeper stays one, also where rounding makes a.b and b.a differ
    for row in order:
        if row in gone:
            continue
        kept.add(row)
        for other in neighbours[limits[row] : limits[row + 1]].tolist():
            if other not in kept and other not in gone:
                gone[other] = row
    return gone


def dedupe_images(samples: Sequence[Sample], threshold: float) -> list[Sample]:
    """Mark near-duplicate pictures of one target as dropped; the highest reward stays. Keeps order."""
    keys: dict[str, list[int]] = {}
    for i, sample in enumerate(samples):
        if sample.image is not None and not sample.dropped:
            keys.setdefault(sample.target.key, []).append(i)
    done = list(samples)
    for members in keys.values():
        vectors = np.stack([image_vector(samples[i].image or b"") for i in members])
        best = sorted(
            range(len(members)), key=lambda j: (-(samples[members[j]].reward or 0.0), samples[members[j]].id)
        )
        for gone, keeper in near_duplicates(vectors, best, threshold).items():
            reason = f"near_duplicate of {samples[members[keeper]].id}"
            done[members[gone]] = replace(samples[members[gone]], dropped=reason)
    return done


class Index:
    """Unit vectors that grow while they are searched."""

    def __init__(self, dimension: int) -> None:
        import faiss

        self.faiss = faiss.IndexFlatIP(dimension)

    def add(self, vectors: np.ndarray) -> None:
        self.faiss.add(np.ascontiguousarray(vectors))

    def within(self, vectors: np.ndarray, threshold: float) -> list[list[tuple[int, float]]]:
        """For each row the stored (number, similarity) at or above ``threshold``, nearest first."""
        if not self.faiss.ntotal:
            return [[] for _ in vectors]
        limits, similarities, numbers = self.faiss.range_search(np.ascontiguousarray(vectors), threshold)
        return [
            sorted(
                zip(numbers[a:b].tolist(), similarities[a:b].tolist(), strict=True),
                key=lambda x: (-x[1], x[0]),
            )
            for a, b in zip(limits[:-1].tolist(), limits[1:].tolist(), strict=True)
        ]

    def nearest(self, vectors: np.ndarray, k: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """``(similarities, numbers)``, each [n, k]."""
        return self.faiss.search(np.ascontiguousarray(vectors), k)
