"""Records in scratch files, sorted into pieces: what one worker writes and others read a piece each of.

A file is written whole or not at all and begins with the sha256 of the rest, so that work which was killed
knows what of it stands. Left out: checking a piece each time it is read; ``stands`` checks the whole file
once, when work is taken up again.
"""

import hashlib
from pathlib import Path

import numpy as np

from datagen.errors import ShardError
from datagen.shards import atomic

SUM = 32  # bytes of a sha256


def write_pieces(path: Path, records: np.ndarray, piece: np.ndarray, count: int) -> None:
    """Write ``records`` [n], each in ``piece`` [n] of 0 to ``count`` - 1; their order is kept within one.

    Raises ``ShardError`` when the disk is full.
    """
    starts = np.zeros(count + 1, np.int64)
    np.cumsum(np.bincount(piece, minlength=count), out=starts[1:])
    header = np.concatenate([np.array([count], np.int64), starts]).tobytes()
    body = np.ascontiguousarray(records[np.argsort(piece, kind="stable")]).view(np.uint8).data
    total = hashlib.sha256(header)
    total.update(body)
    with atomic(path, synced=False) as file:
        for data in (total.digest(), header, body):
            file.write(data)


def stands(path: Path) -> bool:
    """Whether all of the file is there as it was written."""
    if not path.exists():
        return False
    with path.open("rb") as file:
        said = file.read(SUM)
        rest = hashlib.sha256()
        while data := file.read(1 << 20):
            rest.update(data)
    return rest.digest() == said


def read_piece(path: Path, kind: np.dtype, number: int) -> tuple[int, np.ndarray]:
    """Where piece ``number`` begins among the file's records, and its records."""
    first, (start, end) = _place(path, number)
    return start, np.fromfile(path, kind, end - start, offset=first + start * kind.itemsize)


def take(path: Path, kind: np.dtype, at: np.ndarray) -> np.ndarray:
    """The file's records number ``at`` [n]."""
    first, _ = _place(path, 0)
    return np.memmap(path, kind, "r", offset=first)[at]


def _place(path: Path, number: int) -> tuple[int, tuple[int, int]]:
    """Where the records begin, in bytes, and where a piece begins and ends, in records."""
    try:
        with path.open("rb") as file:
            file.seek(SUM)
            count = int.from_bytes(file.read(8), "little")
            file.seek(8 * number, 1)
            start, end = np.frombuffer(file.read(16), "<i8").tolist()
    except OSError as error:
        raise ShardError(f"{path}: cannot be read: {error.strerror}; run again") from error
    return SUM + 8 * (count + 2), (start, end)
