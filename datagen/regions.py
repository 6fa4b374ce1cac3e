"""How many prompts ask for nearly the same, while they are being written: vectors on disk, compared exactly."""

from itertools import pairwise
from pathlib import Path

import faiss
import numpy as np

from datagen.embedding import DIMENSION
from datagen.spill import Digests, Spilled


class Regions:
    """Phrases by their words, equal ones held once: 4 kB each in a scratch file in ``folder``.

    FAISS's own search runs over the mapped file, as an index would run over its copy.
    """

    def __init__(self, threshold: float, folder: Path | None = None) -> None:
        self.threshold = threshold
        self.numbers, self.vectors = Digests(folder), Spilled(np.float32, folder)
        self.counts = Spilled(np.int64, folder)

    def add(self, phrase: str, vector: np.ndarray) -> None:
        number = self.numbers.get(phrase)
        if number is None:
            number = self.counts.append(0)
            self.numbers.add(phrase, number)
            self.vectors.extend(vector)
        self.counts.room[number] += 1

    def around(self, vectors: np.ndarray) -> list[int]:
        """The prompts within the threshold of each row of ``vectors`` [n, 1024]."""
        if not self.counts.length:
            return [0] * len(vectors)
        found = faiss.RangeSearchResult(len(vectors))
        rows = np.ascontiguousarray(vectors, dtype=np.float32)
        faiss.range_search_inner_product(
            faiss.swig_ptr(rows), faiss.swig_ptr(self.vectors.room), DIMENSION, len(rows), self.counts.length,
            self.threshold, found,
        )  # fmt: skip
        limits = faiss.rev_swig_ptr(found.lims, len(rows) + 1).tolist()
        if not limits[-1]:
            return [0] * len(rows)
        counts = self.counts.room[faiss.rev_swig_ptr(found.labels, limits[-1])]
        return [int(counts[a:b].sum()) for a, b in pairwise(limits)]
