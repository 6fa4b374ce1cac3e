"""Texts as unit vectors: light, on the CPU, and the same on every machine.

Three views of a prompt: its wording (hashed character trigrams), what it asks for (hashed words and
pairs of words), and both weighted by rarity, to hold it against evaluation prompts. Left out: learned
embeddings, which need a download and call two cups and three cups the same.
"""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from zlib import crc32

import numpy as np

from datagen.decontaminate import normalise
from datagen.spill import Spilled

DIMENSION = 1024
BLOCK = 8192  # stored vectors compared at once


def prompt_vector(prompt: str) -> np.ndarray:
    """[1024] float32, unit length: hashed character trigrams of the normalised words."""
    text = f"  {' '.join(prompt.lower().strip(' .!').split())}  "
    at = [crc32(text[i : i + 3].encode()) % DIMENSION for i in range(len(text) - 2)]
    vector = np.bincount(at, minlength=DIMENSION).astype(np.float32)
    return vector / np.linalg.norm(vector)


class SparseRows:
    """Vectors of mostly zeros, of at most 65,536 dimensions, in scratch files in ``folder``: six bytes a value
    that is not one of them."""

    def __init__(self, folder: Path | None = None) -> None:
        self.columns, self.values = Spilled(np.uint16, folder), Spilled(np.float32, folder)
        self.starts = Spilled(np.int64, folder)
        self.starts.append(0)

    def add(self, vector: np.ndarray) -> int:
        """Store ``vector`` [d]; returns its number."""
        at = np.flatnonzero(vector)
        self.columns.extend(at)
        self.values.extend(vector[at])
        return self.starts.append(self.columns.length) - 1

    def similarities(self, vector: np.ndarray, rows: Sequence[int]) -> np.ndarray:
        """[len(rows)] inner products of ``vector`` [d] with stored ones, none of which is all zeros."""
        starts = self.starts.room
        spans = [(starts.item(row), starts.item(row + 1)) for row in rows]
        at = np.concatenate([np.arange(*span) for span in spans])
        lengths = np.array([end - start for start, end in spans])
        products = vector[self.columns.room[at]] * self.values.room[at]
        return np.add.reduceat(products, np.cumsum(lengths) - lengths)

    def nearest(self, vector: np.ndarray) -> int:
        """The number of the stored vector that is most like ``vector`` [d], the first of several."""
        best: tuple[float, int] = (-np.inf, -1)
        for first in range(0, self.starts.length - 1, BLOCK):
            starts = self.starts.values[first : first + BLOCK + 1]
            span = slice(starts[0], starts[-1])
            products = vector[self.columns.room[span]] * self.values.room[span]
            alike = np.add.reduceat(products, starts[:-1] - starts[0])
            highest = int(alike.argmax())
            if alike[highest] > best[0]:
                best = float(alike[highest]), first + highest
        return best[1]


def words_vector(phrase: str) -> np.ndarray:
    """[1024] float32, unit length: hashed words and pairs of words, articles dropped."""
    return _unit(_hashed(_word_grams(phrase), DIMENSION))


class TextSpace:
    """Texts as hashed words, word pairs and trigrams, each weighted by its rarity in a reference.

    In a reference of templates ("a photo of") the template's words weigh little and the content's much.
    """

    def __init__(self, reference: Sequence[str], dimension: int = 4096) -> None:
        self.dimension = dimension
        counts = np.zeros(dimension, dtype=np.float32)
        for text in reference:
            counts += self._raw(text) > 0
        self.weights = (np.log((1 + len(reference)) / (1 + counts)) + 1).astype(np.float32)

    def _raw(self, text: str) -> np.ndarray:
        line = f" {normalise(text)} "
        grams = [line[i : i + 3] for i in range(len(line) - 2)]
        return _hashed([*_word_grams(text), *(f"#{g}" for g in grams)], self.dimension)

    def vectors(self, texts: Sequence[str]) -> np.ndarray:
        """[n, dimension] float32, unit length."""
        if not texts:
            return np.zeros((0, self.dimension), dtype=np.float32)
        return np.stack([_unit(self._raw(t) * self.weights) for t in texts])


def _word_grams(text: str) -> list[str]:
    words = normalise(text).split()
    return [*words, *(f"{a} {b}" for a, b in pairwise(words))]


def _hashed(grams: Sequence[str], dimension: int) -> np.ndarray:
    """Square roots of counts: a word said twice is not twice as telling."""
    if not grams:
        return np.zeros(dimension, dtype=np.float32)
    at = [crc32(g.encode()) % dimension for g in grams]
    return np.sqrt(np.bincount(at, minlength=dimension)).astype(np.float32)


def _unit(vector: np.ndarray) -> np.ndarray:
    norm = float(np.linalg.norm(vector))
    return (vector / norm if norm else vector).astype(np.float32)
