"""Any CSV, TSV or JSONL through ``--map category=COLUMN,score=COLUMN,prompt=COLUMN``.

Also ``id=`` and ``image=`` (which prompt, which of its images), ``reason=``, ``sub=COLUMN+COLUMN``
(what to look for weaknesses within), ``scale=100`` (the best score) and ``benchmark=NAME``. A dot
walks into a nested object. Without ``id=`` the prompt's text is the prompt; without that each row is,
and so is one whose id is empty. A comma within a column's name is part of it.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from datagen.errors import InputError, ResultsError
from datagen.evals.files import Source, lines, number, parse_object, records
from datagen.evals.rows import EvalRow

KEYS = ("category", "score", "prompt", "id", "image", "reason", "sub", "scale", "benchmark")
WORDS = {"true": 1.0, "yes": 1.0, "correct": 1.0, "false": 0.0, "no": 0.0, "incorrect": 0.0}
MISSING = ("", "null", "none", "na", "n/a")


def parse_map(pairs: Iterable[str]) -> dict[str, str]:
    """``["category=kind,score=ok", "scale=100"]`` to options. Raises ``InputError``."""
    out: dict[str, str] = {}
    for pair in (p for group in pairs for p in re.split(r",(?=\s*(?:\w+\s*=|$))", group) if p.strip()):
        key, sign, value = (x.strip() for x in pair.partition("="))
        if key not in (*KEYS, "filter") or not sign or not value:
            raise InputError(
                f"--map {pair!r}: give KEY=COLUMN with KEY one of {', '.join((*KEYS, 'filter'))}"
            )
        if key in out:
            raise InputError(f"--map: {key} is given twice")
        out[key] = value
    return out


def matches(source: Source) -> bool:
    """Never by content: only where category and score are named."""
    return False


def read(source: Source) -> Iterator[EvalRow]:
    names = source.options
    if unknown := [k for k in names if k not in (*KEYS, "of", "filter")]:
        raise InputError(f"{source.path}: --map: unknown {unknown[0]!r}; valid: {', '.join(KEYS)}")
    for key in ("category", "score"):
        if key not in names:
            raise InputError(f"{source.path}: --map: {key}= is needed: the column that holds the {key}")
    scale = number(f"{source.path}: --map", "scale", names.get("scale", "1"), 1e-9, 1e9)
    for at, row in _rows(source):
        where = f"{source.path}:{at}"
        category = _text(where, names["category"], row)
        if not category:
            raise ResultsError(f"{where}: {names['category']} is empty")
        prompt = _text(where, names["prompt"], row) if "prompt" in names else ""
        prompt_id = (_text(where, names["id"], row) if "id" in names else prompt) or f"line {at}"
        if "image" in names:
            image = int(number(where, names["image"], _get(where, names["image"], row), 0, 2**31))
        else:
            image = at  # counting a prompt's images would need memory for every prompt
        subs = names["sub"].split("+") if "sub" in names else []
        yield EvalRow(
            prompt_id,
            prompt,
            category,
            _score(where, names["score"], _get(where, names["score"], row), scale),
            image,
            _text(where, names["reason"], row) if "reason" in names else "",
            facets=tuple((s, value) for s in subs if (value := _text(where, s, row))),
            benchmark=names.get("benchmark", source.path.stem),
            line=at,
        )


def _rows(source: Source) -> Iterator[tuple[int, Mapping[str, Any]]]:
    if source.first_line.startswith("{"):
        for at, line in lines(source.path):
            yield at, parse_object(source.path, at, line, (), "JSON")
    elif source.first_line.startswith("["):
        raise ResultsError(f"{source.path}: a JSON array; --map reads CSV, TSV and JSON lines")
    else:
        yield from records(source.path)


def _get(where: str, name: str, row: Mapping[str, Any]) -> Any:
    if name in row:
        return row[name]
    value: Any = row
    for step in name.split("."):
        if not isinstance(value, Mapping) or step not in value:
            raise ResultsError(f"{where}: no column {name!r}; there are {', '.join(map(str, row))[:200]}")
        value = value[step]
    return value


def _text(where: str, name: str, row: Mapping[str, Any]) -> str:
    value = _get(where, name, row)
    if value is None:
        return ""
    if isinstance(value, (dict, list)):
        raise ResultsError(f"{where}: {name} must be text, not {value!r:.40}")
    return str(value).strip()


def _score(where: str, name: str, value: Any, scale: float) -> float | None:
    if value is None or (isinstance(value, str) and value.strip().lower() in MISSING):
        return None
    if isinstance(value, bool):
        return float(value)
    if isinstance(value, str) and value.strip().lower() in WORDS:
        return WORDS[value.strip().lower()]
    return number(where, name, value, 0, scale) / scale
