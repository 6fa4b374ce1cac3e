"""Near-duplicates with FAISS: prompts before rendering (cheap), images after scoring (keep the best).

Images are compared within one target only: a scene with two circles and one with three are near in
any embedding, and both are wanted. The embedding is the picture itself (``thumbnails``).

Search is exact up to ``EXACT`` vectors; beyond, an inverted file finds the pairs and each is compared
exactly before anything is dropped, so it can only miss, never drop wrongly. Sets of pictures are searched target by
target, which is exact and can be done anywhere in any order: that is how it goes past one machine.
Across targets only pictures whose vectors are the same bit for bit are copies. Prompts are searched by
``Index`` (``guard``). ``benchmarks.dedupe`` has time, memory and recall.
"""

import hashlib
import tempfile
from array import array
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import numpy as np

from datagen.errors import ShardError
from datagen.sample import Sample, content_seed
from datagen.thumbnails import SIZE, thumbnail, vectors

ID = 16  # characters of a sample's id
EXACT = 50_000  # vectors searched by brute force: minutes of one core
PROBES = 32  # inverted lists looked at for each vector
CHUNK = 8192  # vectors searched at once, to bound the memory of what is found


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


class Pictures:
    """What deciding about near-duplicate pictures needs of each candidate: its thumbnail in a scratch file in
    ``folder``, which is gone with the context, and 32 bytes in memory.

    Pictures are compared within one target, and across targets where their vectors are the same bit for
    bit; the highest reward stays. Raises ``ShardError`` when the disk is full.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file: IO[bytes] = tempfile.TemporaryFile(dir=folder, prefix=".pictures-")  # noqa: SIM115  # __exit__ closes it
        self.targets, self.rewards, self.ids = array("q"), array("d"), array("B")

    def __enter__(self) -> "Pictures":
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def add(self, name: str, key: str, reward: float | None, small: bytes | None) -> None:
        """The next candidate: its id, its target's key, its thumbnail or None where it is not compared."""
        try:
            self.file.write(small if small is not None else bytes(SIZE))
        except OSError as error:
            raise ShardError(
                f"{self.folder}: cannot be written: {error.strerror}; free space and run again"
            ) from error
        self.targets.append(content_seed(key) if small is not None else -1)
        self.rewards.append(reward or 0.0)
        self.ids.frombytes(name.encode()[:ID].ljust(ID, b"\0"))

    def dropped(self, threshold: float) -> dict[int, str]:
        """The reason for each candidate that is a near-duplicate, by the order in which it was added."""
        if not self.targets:
            return {}
        self.file.flush()
        pictures = np.memmap(self.file, np.uint8, "r", shape=(len(self.targets), SIZE))
        targets, ids = np.asarray(self.targets), np.frombuffer(self.ids, f"S{ID}")
        best = np.lexsort((ids, -np.asarray(self.rewards)))  # who is kept before whom
        best = best[targets[best] >= 0]
        keepers: dict[int, int] = {}
        for members in _split(best, targets[best]):
            found = near_duplicates(vectors(pictures[members]), range(len(members)), threshold)
            keepers |= {int(members[gone]): int(members[keeper]) for gone, keeper in found.items()}
        left = best[~np.isin(best, np.fromiter(keepers, np.int64, len(keepers)))]
        keepers |= _copies(pictures, left)
        return {gone: f"near_duplicate of {ids[keeper].decode()}" for gone, keeper in keepers.items()}


def _copies(pictures: np.ndarray, rows: np.ndarray) -> dict[int, int]:
    """``{row: the first of rows whose vector is the same, bit for bit}``; blank pictures are copies of nothing."""
    hashes = np.zeros(len(rows), np.uint64)  # of 64 bits: what they find is compared
    for start in range(0, len(rows), CHUNK):
        found = vectors(pictures[rows[start : start + CHUNK]])
        hashes[start : start + len(found)] = [
            int.from_bytes(hashlib.sha256(v.tobytes()).digest()[:8], "big") if v.any() else 0 for v in found
        ]
    _, first, which = np.unique(hashes, return_index=True, return_inverse=True)
    copies = {}
    for at in np.flatnonzero((first[which] != np.arange(len(rows))) & (hashes != 0)):
        row, keeper = int(rows[at]), int(rows[first[which[at]]])
        if np.array_equal(*vectors(pictures[[row, keeper]])):
            copies[row] = keeper
    return copies


def add_sample(pictures: Pictures, sample: Sample) -> None:
    """A sample whose thumbnail is not made yet."""
    small = thumbnail(sample.image) if sample.image is not None and not sample.dropped else None
    pictures.add(sample.id, sample.target.key, sample.reward, small)


def _split(rows: np.ndarray, labels: np.ndarray) -> list[np.ndarray]:
    """``rows`` by label; their order is kept."""
    order = np.argsort(labels, kind="stable")
    return np.split(rows[order], np.flatnonzero(np.diff(labels[order])) + 1) if len(rows) else []


def dedupe_images(samples: Sequence[Sample], threshold: float) -> list[Sample]:
    """Mark near-duplicate pictures as dropped, as ``Pictures`` finds them. Keeps order."""
    with Pictures(Path(tempfile.gettempdir())) as pictures:
        for sample in samples:
            add_sample(pictures, sample)
        dropped = pictures.dropped(threshold)
    return [replace(s, dropped=dropped.get(i, s.dropped)) for i, s in enumerate(samples)]


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
