"""``prompts.jsonl``: a build's prompts on disk, a line each, and the reports on them as the last line.

Read a few at a time: a build of millions holds where its prompts begin, eight bytes each, and no prompt.
Left out: whether the file is to be trusted, which the manifest knows.
"""

import hashlib
import json
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from datagen.errors import ShardError
from datagen.sample import Sample, Target
from datagen.shards import atomic

NAME = "prompts.jsonl"
Reports = dict[str, dict[str, Any]]  # recipe -> what ``write_recipe`` says


class PromptFile:
    """A whole file, opened once and scanned."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.starts: dict[str, array[int]] = {}
        self.reports: Reports = {}
        at = 0
        with path.open("rb") as file:
            for line in file:
                row = json.loads(line)
                if "reports" in row:
                    self.reports = row["reports"]
                else:
                    self.starts.setdefault(row["recipe"], array("q")).append(at)
                at += len(line)

    def count(self, recipe: str) -> int:
        return len(self.starts.get(recipe, ()))

    def read(self, recipe: str, start: int, stop: int) -> list[Sample]:
        """Prompts ``start`` to ``stop`` of a recipe, in the order in which they were written.

        Raises ``ShardError`` where the file cannot be opened.
        """
        some = self.starts.get(recipe, array("q"))[start:stop]
        if not some:
            return []
        try:
            with self.path.open("rb") as file:
                file.seek(some[0])  # a recipe's prompts follow each other
                return [_sample(json.loads(file.readline())) for _ in some]
        except OSError as error:
            raise ShardError(
                f"{self.path}: cannot be read: {error.strerror}; every node needs the run directory"
            ) from error


class PromptWriter:
    """A file that is being written: prompts, one recipe after the other; ``reports`` are added at the end."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.hash = file, hashlib.sha256()
        self.reports: Reports = {}

    @property
    def sha256(self) -> str:
        """Of the file, once it stands."""
        return self.hash.hexdigest()

    def add(self, sample: Sample) -> None:
        self._write(_row(sample))

    def finish(self) -> None:
        self._write({"reports": self.reports})

    def _write(self, row: dict[str, Any]) -> None:
        line = (json.dumps(row) + "\n").encode()
        self.hash.update(line)
        self.file.write(line)


@contextmanager
def prompt_writer(path: Path) -> Iterator[PromptWriter]:
    """All that is added within the ``with``, or nothing where it fails."""
    with atomic(path) as file:
        writer = PromptWriter(file)
        yield writer
        writer.finish()


def _row(sample: Sample) -> dict[str, Any]:
    row = {name: getattr(sample, name) for name in ("prompt", "group_id", "recipe", "weakness", "llm")}
    return row | {"target": sample.target.to_dict()}


def _sample(row: dict[str, Any]) -> Sample:
    return Sample(**row | {"target": Target.from_dict(row["target"])})
