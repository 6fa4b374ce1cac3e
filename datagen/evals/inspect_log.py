"""Inspect's JSON log (UKGovernmentBEIS/inspect_ai): ``samples[].scores.<scorer>.value`` and ``epoch``.

C is 1, I 0, P a half; N (no answer) is 0 as in Inspect's own accuracy; a number is itself. The task is
the category, a sample the prompt, an epoch one of its images. A sample that ended in an error is
unscored. Several scorers: choose with ``--map score=NAME``.
"""

from collections.abc import Iterator
from typing import Any

from datagen.errors import ResultsError
from datagen.evals.files import Source, number
from datagen.evals.json_stream import elements
from datagen.evals.rows import EvalRow

LETTERS = {"C": 1.0, "I": 0.0, "P": 0.5, "N": 0.0}


def matches(source: Source) -> bool:
    head = source.head.lstrip()
    return head.startswith("{") and all(f'"{key}"' in head for key in ("version", "status", "eval")) \
        and '"task"' in head  # fmt: skip


def read(source: Source) -> Iterator[EvalRow]:
    path = source.path
    task = next((str(v) for _, k, v in elements(path, "eval") if k == "task"), path.stem)
    for line, key, row in elements(path, "samples"):
        where = f"{path}:{line}"
        if key is not None or not isinstance(row, dict) or "id" not in row:
            raise ResultsError(f"{where}: a sample must be an object with id and scores")
        scores = row.get("scores") or {}
        epoch = row.get("epoch", 1)
        if not isinstance(scores, dict) or isinstance(epoch, bool) or not isinstance(epoch, int):
            raise ResultsError(f"{where}: scores must be an object and epoch a whole number")
        name = _scorer(where, scores, source.options.get("score"))
        found = scores.get(name)
        value = found.get("value") if isinstance(found, dict) else None
        asked = row.get("input")
        yield EvalRow(
            str(row["id"]),
            asked if isinstance(asked, str) else "",
            task,
            None if value is None or row.get("error") else _score(where, value),
            epoch,
            str((found or {}).get("explanation") or "") if isinstance(found, dict) else "",
            benchmark="inspect",
            line=line,
        )


def _scorer(where: str, scores: dict[str, Any], wanted: str | None) -> str:
    if wanted is not None:
        if scores and wanted not in scores:
            raise ResultsError(f"{where}: no scorer {wanted!r}; valid: {', '.join(scores)}")
        return wanted
    if len(scores) > 1:
        raise ResultsError(f"{where}: several scorers; choose with --map score=NAME: {', '.join(scores)}")
    return next(iter(scores), "")


def _score(where: str, value: Any) -> float:
    if isinstance(value, str) and value in LETTERS:
        return LETTERS[value]
    if isinstance(value, bool):
        return float(value)
    return number(where, "value", value)
