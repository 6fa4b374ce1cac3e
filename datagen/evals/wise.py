"""WISE (PKU-YuanGroup/WISE), both schemas, one JSON line a prompt; told apart by their keys.

Legacy: ``consistency, realism, aesthetic_quality`` from 0 to 2, WiScore = (0.7C + 0.2R + 0.1A) / 2.
Verified: ``score`` 0 or 1. The prompt's id says its domain, by different ranges in each. The judge's
999 is an evaluation that failed: unscored, not zero. Scores files hold no prompts.
"""

from collections.abc import Iterator
from typing import Any

from datagen.errors import ResultsError
from datagen.evals.files import Source, lines, number, parse_object
from datagen.evals.rows import EvalRow

PARTS = {"consistency": 0.7, "realism": 0.2, "aesthetic_quality": 0.1}
LEGACY = {"culture": 400, "time": 567, "space": 700, "biology": 800, "physics": 900, "chemistry": 1000}
VERIFIED = {"culture": 400, "time": 520, "space": 640, "biology": 760, "physics": 880, "chemistry": 1000}
FAILED = 999


def _keys(legacy: bool) -> tuple[str, ...]:
    return ("prompt_id", "Subcategory", *(PARTS if legacy else ("score",)))


def matches(source: Source) -> bool:
    row = source.first_object()
    return all(key in row for key in _keys(True)) or (
        all(key in row for key in _keys(False)) and "doc_id" not in row
    )


def read(source: Source) -> Iterator[EvalRow]:
    path = source.path
    legacy = not all(key in source.first_object() for key in _keys(False))
    for at, line in lines(path):
        where = f"{path}:{at}"
        row = parse_object(path, at, line, _keys(legacy), "WISE")
        if ("score" in row) == legacy:
            raise ResultsError(f"{where}: another WISE schema than the first line's")
        prompt_id, subcategory = row["prompt_id"], row["Subcategory"]
        if isinstance(prompt_id, bool) or not isinstance(prompt_id, int) or not 1 <= prompt_id <= 1000:
            raise ResultsError(
                f"{where}: prompt_id must be a whole number from 1 to 1000, not {prompt_id!r:.40}"
            )
        if not isinstance(subcategory, str) or not subcategory:
            raise ResultsError(f"{where}: Subcategory must be a string, not {subcategory!r:.40}")
        domain = next(d for d, last in (LEGACY if legacy else VERIFIED).items() if prompt_id <= last)
        score, reason = (_legacy if legacy else _verified)(where, row)
        yield EvalRow(
            f"{prompt_id:04d}",
            str(row.get("prompt") or ""),
            domain,
            score,
            reason=reason,
            facets=(("subcategory", subcategory),),
            benchmark="wise" if legacy else "wise-verified",
            line=at,
        )


def _legacy(where: str, row: dict[str, Any]) -> tuple[float | None, str]:
    parts = {k: row[k] for k in PARTS}
    if any(v is None or v == FAILED for v in parts.values()):
        return None, "the judge failed"
    values = {k: number(where, k, v, 0, 2) for k, v in parts.items()}
    low = ", ".join(f"{k.replace('_', ' ')} {v:g} of 2" for k, v in values.items() if v < 2)
    return sum(PARTS[k] * v for k, v in values.items()) / 2, low


def _verified(where: str, row: dict[str, Any]) -> tuple[float | None, str]:
    if row["score"] is None or row["score"] == FAILED:
        return None, "the judge failed"
    score = number(where, "score", row["score"])
    if score not in (0.0, 1.0):
        raise ResultsError(f"{where}: score must be 0 or 1, not {score:g}")
    return score, "" if score else "does not show what the prompt hints at"
