"""Answers of LLMs on disk, so that a re-run asks, waits and pays for nothing twice.

One SQLite file; any number of threads and processes of one machine may use it at once. On a cluster
every machine has its own: SQLite is not safe over network file systems. What a model refused or cut
off is kept too: it is an answer, and asking again with the same seed would give the same.
"""

import contextlib
import hashlib
import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import TypeVar

from datagen.errors import WorkError
from datagen.llm.base import LLM, Reply, WriteRequest

T = TypeVar("T")

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


def answered(
    cache: AnswerCache | None,
    items: Mapping[str, T],
    ask: Callable[[list[T]], list[Reply]],
    keep: Callable[[T, Reply], bool] = lambda item, reply: True,
) -> dict[str, Reply]:
    """The reply to each item, by its key: from the cache where it is known, else from ``ask``; ``keep`` says which stay."""
    known = cache.get(list(items)) if cache else {}
    if new := {key: item for key, item in items.items() if key not in known}:
        fresh = dict(zip(new, ask(list(new.values())), strict=True))
        if cache:
            cache.put({key: reply for key, reply in fresh.items() if keep(new[key], reply)})
        known |= fresh
    return known


class CachedLLM:
    """A prompt writer whose replies are kept; ``identity`` tells its like apart: weights, sampling, code."""

    def __init__(self, llm: LLM, cache: AnswerCache, identity: Sequence[object]) -> None:
        self.name, self.llm, self.cache, self.identity = llm.name, llm, cache, tuple(identity)

    def write(self, requests: Sequence[WriteRequest]) -> list[Reply]:
        keys = [self._key(request) for request in requests]
        replies = answered(self.cache, dict(zip(keys, requests, strict=True)), self.llm.write)
        return [replies[key] for key in keys]

    def _key(self, request: WriteRequest) -> str:
        parts = [self.name, *self.identity, astuple(request)]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def default_cache() -> AnswerCache | None:
    """In ``$DATAGEN_CACHE``, or in the user's cache folder; None when it is ``off``."""
    chosen = os.environ.get(VARIABLE)
    if chosen == "off":
        return None
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return AnswerCache(Path(chosen) if chosen else base / "datagen")
