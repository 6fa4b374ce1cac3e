"""Answers of chat models on disk, so that a re-run asks, and pays for, nothing twice.

One SQLite file; any number of threads and processes of one machine may use it at once. On a cluster
every machine has its own: SQLite is not safe over network file systems. What a model refused or cut
off is kept too: it is an answer, and asking again with the same seed would give the same.
"""

import contextlib
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from datagen.errors import WorkError
from datagen.llm.base import Reply

VARIABLE = "DATAGEN_CACHE"  # a folder; "off" turns the cache off
CHUNK = 500  # variables that SQLite takes in one statement, on the safe side


class AnswerCache:
    """Key to ``Reply``, in ``folder/answers.sqlite``. Raises ``WorkError`` naming the file."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "answers.sqlite"

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.closing(sqlite3.connect(self.path, timeout=60)) as base, base:
                base.execute(
                    "CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, text TEXT, cause TEXT)"
                )
                yield base
        except (sqlite3.Error, OSError) as error:
            raise WorkError(
                f"{self.path}: {error}; delete it, or set {VARIABLE} to another folder or to off"
            ) from error

    def get(self, keys: Sequence[str]) -> dict[str, Reply]:
        """Those of the keys that are known."""
        out: dict[str, Reply] = {}
        with self._open() as base:
            for start in range(0, len(keys), CHUNK):
                part = keys[start : start + CHUNK]
                marks = ",".join("?" * len(part))
                rows = base.execute(f"SELECT key, text, cause FROM answers WHERE key IN ({marks})", part)
                out |= {key: Reply(text, cause) for key, text, cause in rows}
        return out

    def put(self, replies: Mapping[str, Reply]) -> None:
        with self._open() as base:
            rows = [(key, reply.text, reply.cause) for key, reply in replies.items()]
            base.executemany("INSERT OR IGNORE INTO answers VALUES (?, ?, ?)", rows)


def default_cache() -> AnswerCache | None:
    """In ``$DATAGEN_CACHE``, or in the user's cache folder; None when it is ``off``."""
    chosen = os.environ.get(VARIABLE)
    if chosen == "off":
        return None
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return AnswerCache(Path(chosen) if chosen else base / "datagen")
