"""Whether the same judgement is there twice, in one file or in several that are merged.

Twenty bytes a row instead of a dictionary's two hundred, so that a million rows cost 20 MB: the key is
hashed to 64 bits and sorted once at the end. Two of 10 million different keys meet with a chance of
3 in a million, and then the file is refused, never silently miscounted.
"""

from array import array
from bisect import bisect_right

import numpy as np
import xxhash

from datagen.errors import ResultsError
from datagen.evals.rows import EvalRow


class Duplicates:
    """Note every row with ``add``, then ``check``. Totals and rows of one category may not mix."""

    def __init__(self) -> None:
        self.keys, self.lines = array("Q"), array("Q")
        self.files: list[tuple[int, str]] = []  # the first row's number, path
        self.kinds: dict[tuple[str, str], tuple[bool, str]] = {}

    def file(self, path: str) -> None:
        self.files.append((len(self.keys), path))

    def add(self, row: EvalRow) -> None:
        key = f"{row.benchmark}\n{row.category}\n{row.prompt_id}\n{row.image}"
        if row.summary:
            key += f"\n{row.facets}"
        self.keys.append(xxhash.xxh3_64_intdigest(key.encode("utf-8", "surrogatepass")))
        self.lines.append(row.line)
        kind = self.kinds.get((row.benchmark, row.category))
        if kind is None:
            self.kinds[row.benchmark, row.category] = (bool(row.summary), self.files[-1][1])
        elif kind[0] != bool(row.summary):
            raise ResultsError(
                f"{self.files[-1][1]}: {row.category} as {'totals' if row.summary else 'rows'}, "
                f"{kind[1]} has it as {'totals' if kind[0] else 'rows'}; give one of them"
            )

    def check(self) -> None:
        """Raises ``ResultsError`` naming both places of the first judgement that is there twice."""
        keys = np.frombuffer(self.keys, dtype=np.uint64) if self.keys else np.empty(0, np.uint64)
        order = np.argsort(keys, kind="stable")
        again = np.flatnonzero(keys[order[1:]] == keys[order[:-1]])
        if not len(again):
            return
        second = int(order[again + 1].min())
        first = int(np.flatnonzero(keys == keys[second])[0])
        (here, at), (there, then) = self._place(second), self._place(first)
        if here == there:
            raise ResultsError(f"{here}:{at}: same image as line {then}")
        raise ResultsError(f"{here}:{at}: same image also in {there} (line {then})")

    def _place(self, row: int) -> tuple[str, int]:
        index = bisect_right([start for start, _ in self.files], row) - 1
        return self.files[index][1], self.lines[row]
