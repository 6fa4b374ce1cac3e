"""Texts as unit vectors: light, on the CPU, and the same on every machine.

Three views of a prompt: its wording (hashed character trigrams), what it asks for (hashed words and
pairs of words), and both weighted by rarity, to hold it against evaluation prompts. Left out: learned
embeddings, which need a download and call two cups and three cups the same.
"""

from array import array
from collections.abc import Sequence
from itertools import pairwise
from zlib import crc32

import numpy as np

from datagen.decontaminate import normalise

DIMENSION = 1024


def prompt_vector(prompt: str) -> np.ndarray:
    """[1024] float32, unit length: hashed character trigrams of the normalised words."""
    text = f"  {' '.join(prompt.lower().strip(' .!').split())}  "
    at = [crc32(text[i : i + 3].encode()) % DIMENSION for i in range(len(text) - 2)]
    vector = np.bincount(at, minlength=DIMENSION).astype(np.float32)
    return vector / np.linalg.norm(vector)


class SparseRows:
    """Vectors of mostly zeros, of at most 65,536 dimensions: six bytes a value that is not one of them."""

    def __init__(self) -> None:
        self.columns, self.values, self.starts = array("H"), array("f"), array("q", [0])

    def add(self, vector: np.ndarray) -> int:
        """Store ``vector`` [d]; returns its number."""
        at = np.flatnonzero(vector)
        self.columns.frombytes(at.astype(np.uint16).tobytes())
        self.values.frombytes(vector[at].astype(np.float32).tobytes())
        self.starts.append(len(self.columns))
        return len(self.starts) - 2

    def similarities(self, vector: np.ndarray, rows: Sequence[int]) -> np.ndarray:
        """[len(rows)] inner products of ``vector`` [d] with stored ones, none of which is all zeros."""
        spans = [(self.starts[row], self.starts[row + 1]) for row in rows]
        at = np.concatenate([np.arange(*span) for span in spans])
        columns, values = np.frombuffer(self.columns, np.uint16), np.frombuffer(self.values, np.float32)
        lengths = np.array([end - start for start, end in spans])
        return np.add.reduceat(vector[columns[at]] * values[at], np.cumsum(lengths) - lengths)


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
