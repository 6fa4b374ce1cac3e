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

import hashlib
import io
import tempfile
from array import array
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import numpy as np

from datagen.errors import ShardError
from datagen.sample import Sample

SIDE = 16
EXACT = 50_000  # vectors searched by brute force: minutes of one core
PROBES = 32  # inverted lists looked at for each vector
CHUNK = 8192  # vectors searched at once, to bound the memory of what is found


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


class Pictures:
    """What deciding about near-duplicate pictures needs of each candidate: its vector in a scratch file in
    ``folder``, which is gone with the context, and 0.1 kB in memory.

    Pictures are compared within one target, and across targets where their vectors are the same bit for
    bit; the highest reward stays. Raises ``ShardError`` when the disk is full.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file: IO[bytes] = tempfile.TemporaryFile(dir=folder, prefix=".vectors-")  # noqa: SIM115  # __exit__ closes it
        self.numbers: dict[str, int] = {}  # of targets
        self.targets, self.rewards, self.ids = array("q"), array("d"), list[str]()

    def __enter__(self) -> "Pictures":
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def add(self, sample: Sample) -> None:
        compared = sample.image is not None and not sample.dropped
        vector = image_vector(sample.image) if compared and sample.image else np.zeros(SIDE * SIDE * 3)
        try:
            self.file.write(vector.astype(np.float16).tobytes())
        except OSError as error:
            raise ShardError(
                f"{self.folder}: cannot be written: {error.strerror}; free space and run again"
            ) from error
        number = self.numbers.setdefault(sample.target.key, len(self.numbers))
        self.targets.append(number if compared else -1)
        self.rewards.append(sample.reward or 0.0)
        self.ids.append(sample.id)

    def dropped(self, threshold: float) -> dict[int, str]:
        """The reason for each candidate that is a near-duplicate, by the order in which it was added."""
        if not self.ids:
            return {}
        self.file.flush()
        vectors = np.memmap(self.file, np.float16, "r", shape=(len(self.ids), SIDE * SIDE * 3))
        targets = np.asarray(self.targets)
        best = np.lexsort((np.asarray(self.ids), -np.asarray(self.rewards)))  # who is kept before whom
        best = best[targets[best] >= 0]
        keepers: dict[int, int] = {}
        for members in _split(best, targets[best]):
            found = near_duplicates(vectors[members], range(len(members)), threshold)
            keepers |= {int(members[gone]): int(members[keeper]) for gone, keeper in found.items()}
        first: dict[bytes, int] = {}
        for i in (int(i) for i in best if int(i) not in keepers):
            data = vectors[i].tobytes()
            if any(data) and (keeper := first.setdefault(hashlib.sha256(data).digest()[:16], i)) != i:
                keepers[i] = keeper
        return {gone: f"near_duplicate of {self.ids[keeper]}" for gone, keeper in keepers.items()}


def _split(rows: np.ndarray, labels: np.ndarray) -> list[np.ndarray]:
    """``rows`` by label; their order is kept."""
    order = np.argsort(labels, kind="stable")
    return np.split(rows[order], np.flatnonzero(np.diff(labels[order])) + 1) if len(rows) else []


def dedupe_images(samples: Sequence[Sample], threshold: float) -> list[Sample]:
    """Mark near-duplicate pictures as dropped, as ``Pictures`` finds them. Keeps order."""
    with Pictures(Path(tempfile.gettempdir())) as pictures:
        for sample in samples:
            pictures.add(sample)
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
