"""Whether the same judgement is there twice, in one file or in several that are merged.

Twelve bytes a row where a dictionary takes two hundred: the keys are hashed to 64 bits and sorted
once at the end. Two of 10 million different keys meet with a chance of 3 in a million, and then the
file is refused, never silently miscounted.
"""

from array import array
from bisect import bisect_right

import numpy as np

from datagen.errors import ResultsError
from datagen.evals.rows import EvalRow


class Duplicates:
    """Note every row with ``add``, then ``check``. Totals and rows of one category may not mix."""

    def __init__(self) -> None:
        self.keys, self.lines = array("q"), array("I")
        self.files: list[tuple[int, str]] = []  # the first row's number, path
        self.kinds: dict[tuple[str, str, bool], str] = {}

    def file(self, path: str) -> None:
        self.files.append((len(self.keys), path))

    def add(self, row: EvalRow) -> None:
        total = row.summary > 0
        place = row.benchmark, row.category, total
        self.keys.append(hash((place, row.prompt_id, row.image, row.facets if total else None)))
        self.lines.append(row.line)
        if place not in self.kinds:
            self._mixed(row, total)
            self.kinds[place] = self.files[-1][1]

    def _mixed(self, row: EvalRow, total: bool) -> None:
        other = self.kinds.get((row.benchmark, row.category, not total))
        if other is not None:
            raise ResultsError(
                f"{self.files[-1][1]}: {row.category} as {'totals' if total else 'rows'}, "
                f"{other} has it as {'rows' if total else 'totals'}; give one of them"
            )

    def check(self) -> None:
        """Raises ``ResultsError`` naming both places of the first judgement that is there twice."""
        keys = np.frombuffer(self.keys, dtype=np.int64) if self.keys else np.empty(0, np.int64)
        ordered = np.sort(keys)  # a third of what argsort takes, which only a bad file needs
        if not np.any(ordered[1:] == ordered[:-1]):
            return
        order = np.argsort(keys, kind="stable")
        again = np.flatnonzero(keys[order[1:]] == keys[order[:-1]])
        second = int(order[again + 1].min())
        first = int(np.flatnonzero(keys == keys[second])[0])
        here, there = self._file(second), self._file(first)
        where = f"{self.files[here][1]}:{self.lines[second]}"
        if here == there:
            raise ResultsError(f"{where}: same image as line {self.lines[first]}")
        raise ResultsError(f"{where}: same image also in {self.files[there][1]} (line {self.lines[first]})")

    def _file(self, row: int) -> int:
        return bisect_right([start for start, _ in self.files], row) - 1
