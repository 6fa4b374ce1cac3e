"""Which work a worker died on: a small file for each shard in flight, and a watch on the clock.

A stage that may crash or hang writes into its journal before it begins and after it ends. Ray runs it
again when its worker dies; the next try then finds a beginning without an end, and knows what died,
how often, and mostly why: Python's fault handler writes where a crash or a hang happened, from a C
thread that needs no interpreter lock. A hang ends its process, which is a death like any other. A
worker that went down with its whole node does not count: its work was not the cause.

The journals lie in the run directory, so on a cluster on storage that every node shares. A new driver
begins with none: what was in flight when the old one died is no suspect.
"""

import faulthandler
import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from datagen.errors import ShardError

KILLED = "killed, or out of memory"
Alive = Callable[[str], bool]


class Journal:
    """Deaths by key of what is tried under one name. ``node`` is where this process runs."""

    def __init__(self, path: Path, node: str = "", alive: Alive = lambda node: True) -> None:
        self.path, self.node = path, node
        self.faults = path.with_name(f"{path.name}.fault")
        self.deaths: Counter[str] = Counter()
        self.reasons: dict[str, str] = {}
        self.passed: set[str] = set()
        began: dict[str, str] | None = None
        for row in self._rows():
            if "began" in row:
                began = row
            elif "passed" in row:
                self.passed.add(row["passed"])
                began = None
            else:
                if "died" in row:
                    self._count(row["died"], row["reason"])
                began = None
        if began is not None and alive(began["node"]):
            reason = self._reason()
            self._write({"died": began["began"], "reason": reason})
            self._count(began["began"], reason)
        elif began is not None:
            self._write({"lost": began["began"]})

    @contextmanager
    def attempt(self, key: str, seconds: float = 0) -> Iterator[None]:
        """Try ``key``; the process ends when that takes longer than ``seconds``, if any are given.

        Memory that runs out ends it too: a fresh process has all of it again.
        """
        self._write({"began": key, "node": self.node})
        with self._fault_file() as file:
            faulthandler.disable()  # enabling twice would not take the signals back from who took them since
            faulthandler.enable(file)
            if seconds:
                faulthandler.dump_traceback_later(seconds, exit=True, file=file)
            try:
                yield
            except Exception as error:
                if not (isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"):
                    self._write({"ended": key})
                    raise
                self._write({"died": key, "reason": f"out of memory: {' '.join(str(error).split())[:200]}"})
                os._exit(1)
            finally:
                faulthandler.cancel_dump_traceback_later()
                faulthandler.enable(sys.__stderr__ or 2)
        self._write({"passed": key})

    def close(self) -> None:
        """Forget it all: the work is done."""
        self.path.unlink(missing_ok=True)
        self.faults.unlink(missing_ok=True)

    def _count(self, key: str, reason: str) -> None:
        self.deaths[key] += 1
        self.reasons[key] = reason

    def _reason(self) -> str:
        """From what the fault handler left: a signal, or where it hung."""
        text = self.faults.read_text(errors="replace") if self.faults.exists() else ""
        head, _, rest = text.partition("\n")
        where = next((line.strip() for line in rest.splitlines() if line.startswith("  File")), "")
        if head.startswith("Timeout"):
            return f"hung: {where}"
        if head.startswith("Fatal Python error: "):
            return f"{head.removeprefix('Fatal Python error: ')}: {where}"
        return KILLED

    def _rows(self) -> list[dict[str, str]]:
        if not self.path.exists():
            return []
        rows = []
        for line in self.path.read_text(errors="replace").splitlines():
            try:
                rows.append(json.loads(line))
            except ValueError:
                continue  # torn by a death in the middle of writing it
        return rows

    def _write(self, row: dict[str, str]) -> None:
        try:  # a newline in front too: the line before may be torn
            with self.path.open("a", encoding="utf-8") as file:
                file.write(f"\n{json.dumps(row)}\n")
        except OSError as error:
            raise _unwritable(self.path, error) from error

    def _fault_file(self) -> IO[str]:
        try:
            return self.faults.open("w", encoding="utf-8")
        except OSError as error:
            raise _unwritable(self.faults, error) from error


def _unwritable(path: Path, error: OSError) -> ShardError:
    return ShardError(f"{path}: cannot be written: {error.strerror}; free space and run again")
