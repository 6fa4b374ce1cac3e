"""Memory that lies on disk: numbers that grow in a scratch file, and texts and a table of digests in such files.

A build remembers something of each of its prompts and looks at little of it again. The files have no name and
are gone with the process; what is used of them the kernel keeps in memory, as far as there is room. Left out:
taking anything back. A table knows texts by 64 bits of their hash: of a hundred million, two meet by chance
in one build of four thousand.
"""

import hashlib
import mmap
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from datagen.errors import ShardError

FIRST, STEP = 1 << 16, 1 << 22  # bytes of a file at first, and by which it grows at most


class Spilled:
    """Numbers of one type, appended to a scratch file in ``folder`` (None: the system's).

    Raises ``ShardError`` naming the folder when the disk is full: the file is written before it is mapped.
    """

    def __init__(self, dtype: Any, folder: Path | None = None) -> None:
        self.folder, self.length = folder, 0
        self.file = tempfile.TemporaryFile(dir=folder, prefix=".spilled-")  # noqa: SIM115  # closed by the finalizer
        weakref.finalize(self, self.file.close)
        self.room = np.zeros(0, dtype)

    def append(self, value: Any) -> int:
        """Returns the number's place."""
        if self.length == len(self.room):
            self._grow()
        self.room[self.length] = value
        self.length += 1
        return self.length - 1

    def extend(self, values: np.ndarray) -> int:
        """Returns the place of the first."""
        start, self.length = self.length, self.length + len(values)
        while self.length > len(self.room):
            self._grow()
        self.room[start : self.length] = values
        return start

    @property
    def values(self) -> np.ndarray:
        """All of them, to be looked at while nothing is added."""
        return self.room[: self.length]

    def _grow(self) -> None:
        more = min(max(self.room.nbytes, FIRST), STEP)
        try:
            self.file.write(bytes(more))
            self.file.flush()
        except OSError as error:
            raise ShardError(
                f"{self.folder or tempfile.gettempdir()}: cannot be written: {error.strerror}; free space and run again"
            ) from error
        self.room = np.frombuffer(mmap.mmap(self.file.fileno(), self.room.nbytes + more), self.room.dtype)


class Texts:
    """Texts by the order in which they were added."""

    def __init__(self, folder: Path | None = None) -> None:
        self.bytes, self.ends = Spilled(np.uint8, folder), Spilled(np.int64, folder)

    def add(self, text: str) -> int:
        self.bytes.extend(np.frombuffer(text.encode(), np.uint8))
        return self.ends.append(self.bytes.length)

    def __len__(self) -> int:
        return self.ends.length

    def __getitem__(self, i: int) -> str:
        start = self.ends.room[i - 1] if i else 0
        return self.bytes.room[start : self.ends.room[i]].tobytes().decode()

    def __iter__(self) -> Iterator[str]:
        return (self[i] for i in range(len(self)))


class Digests:
    """Texts, known by their digests, each with a number of its own choosing: an open table in two files."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder, self.length = folder, 0
        self._make(1 << 10)

    def __len__(self) -> int:
        return self.length

    def __contains__(self, text: str) -> bool:
        return self.get(text) is not None

    def get(self, text: str) -> int | None:
        at = self._place(_digest(text))
        return self.numbers.item(at) if self.keys.item(at) else None

    def add(self, text: str, number: int = 0) -> None:
        """Or give a known text another number."""
        key = _digest(text)
        at = self._place(key)
        if not self.keys.item(at):
            self.length += 1
            self.keys[at] = key
        self.numbers[at] = number
        if 2 * self.length > len(self.keys):
            keys, numbers = self.keys, self.numbers
            self._make(2 * len(keys))
            for old in np.flatnonzero(keys).tolist():
                new = self._place(keys.item(old))
                self.keys[new], self.numbers[new] = keys[old], numbers[old]

    def _make(self, size: int) -> None:
        self.files = Spilled(np.uint64, self.folder), Spilled(np.int64, self.folder)
        for file in self.files:
            while len(file.room) < size:
                file._grow()
        self.keys, self.numbers = (file.room[:size] for file in self.files)

    def _place(self, key: int) -> int:
        """Where a digest is, or would be: ``keys`` is 0 there."""
        at, last = key & (len(self.keys) - 1), len(self.keys) - 1
        while (found := self.keys.item(at)) and found != key:
            at = (at + 1) & last
        return at


def _digest(text: str) -> int:
    """64 bits, never 0."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") or 1
