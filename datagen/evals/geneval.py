"""GenEval's ``results.jsonl`` (djghosh13/geneval), and ours, which adds keys to it: a line an image.

``metadata`` and ``details`` are JSON strings; the prompt's index is the folder in ``filename``
(``00012/samples/0003.png``). Our own extra keys (seed, transition, trace, image) go to ``extra``.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from datagen.errors import ResultsError
from datagen.evals.rows import EvalRow

NEEDED = ("filename", "tag", "prompt", "correct")
FILENAME = re.compile(r"(?:^|/)(\d{5})/(?:.*/)?(\d+)\.\w+$")


def matches(head: str) -> bool:
    """The first line is an object with GenEval's keys, or is cut off but begins like one."""
    line = head.lstrip().split("\n", 1)[0]
    if not line.startswith("{"):
        return False
    try:
        row = json.loads(line)
    except ValueError:
        return all(f'"{key}"' in line for key in ("filename", "tag"))
    return isinstance(row, dict) and all(key in row for key in NEEDED)


def read(path: Path) -> Iterator[EvalRow]:
    """Raises ``ResultsError`` with the line number of the first bad row."""
    seen: dict[tuple[str, int], int] = {}
    with path.open(encoding="utf-8", errors="strict") as file:
        try:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    row = _row(path, number, line)
                    key = (row.prompt_id, row.image)
                    if key in seen:
                        raise ResultsError(f"{path}:{number}: same image as line {seen[key]}")
                    seen[key] = number
                    yield row
        except UnicodeDecodeError as error:
            raise ResultsError(f"{path}: binary, not a results file ({error.reason})") from error


def _reject_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a score")


def _row(path: Path, number: int, line: str) -> EvalRow:
    where = f"{path}:{number}"
    try:
        row = json.loads(line, parse_constant=_reject_constant)
    except ValueError as error:
        cut = "" if line.endswith("\n") else " (half-written?)"
        raise ResultsError(f"{where}: not JSON{cut}: {error}") from error
    except RecursionError as error:
        raise ResultsError(f"{where}: nested too deeply") from error
    if not isinstance(row, dict) or (missing := [k for k in NEEDED if k not in row]):
        what = f"field {missing[0]!r} is missing" if isinstance(row, dict) else "not an object"
        raise ResultsError(f"{where}: {what}; a GenEval row has {', '.join(NEEDED)}")
    for key in ("filename", "tag", "prompt"):
        if not isinstance(row[key], str) or not row[key]:
            raise ResultsError(f"{where}: {key} must be a string, not {row[key]!r:.40}")
    match = FILENAME.search(row["filename"])
    if not match:
        raise ResultsError(f"{where}: filename {row['filename']!r:.60} has no 5-digit prompt folder")
    correct = row["correct"]
    if correct is not None and not isinstance(correct, bool):
        raise ResultsError(f"{where}: correct must be true, false or null, not {correct!r:.40}")
    extra = {k: v for k, v in row.items() if k not in (*NEEDED, "reason", "metadata", "details")}
    return EvalRow(
        prompt_id=match[1],
        prompt=row["prompt"],
        category=row["tag"],
        score=None if correct is None else float(correct),
        image=int(match[2]),
        reason=str(row.get("reason") or ""),
        metadata=_object(where, "metadata", row.get("metadata")),
        extra=extra,
    )


def _object(where: str, key: str, value: Any) -> dict[str, Any]:
    if value is None or value == "":
        return {}
    try:
        parsed = json.loads(value) if isinstance(value, str) else value
    except ValueError as error:
        raise ResultsError(f"{where}: {key} is not JSON: {error}") from error
    if not isinstance(parsed, dict):
        raise ResultsError(f"{where}: {key} must be an object")
    return parsed
