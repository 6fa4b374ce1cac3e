"""OneIG-Bench's CSVs: ``{alignment,text,reasoning,style,diversity}[_prompt]_score_{EN|ZH}_<time>.csv``.

A column a model (choose with ``--of``), the first column unnamed: ``anime_000`` (alignment,
diversity), ``000`` (the others), or in a summary the model's name. Text cells are ``[ED, CR, WAC]``:
score = 1 - min(M, ED)(1 - CR)(1 - WAC) / M, M 100 in English, 50 in Chinese. Reasoning, style and
diversity are similarities without a pass mark: shown, and ranked only against a target of their own.
``OneIG-Bench.csv`` beside the file (or ``--benchmark``) adds prompts, their classes and lengths.
"""

import ast
import csv
import re
from collections.abc import Iterator

from datagen.errors import ResultsError
from datagen.evals.files import Source, number, records
from datagen.evals.rows import EvalRow, Facets

NAME = re.compile(r"(alignment|text|reasoning|style|diversity)_(prompt_)?score_(EN|ZH)", re.IGNORECASE)
INDEX = re.compile(r"^(?:(anime|human|object|text|reasoning|multilingualism)_)?(\d{3})$")
SUMMARY = {("alignment",): "alignment", ("ED", "CR", "WAC", "text score"): "text", ("reasoning",): "reasoning",
           ("style",): "style", ("diversity",): "diversity"}  # fmt: skip
FOLDERS = {"anime": "Anime_Stylization", "human": "Portrait", "object": "General_Object", "text": "Text_Rendering",
           "reasoning": "Knowledge_Reasoning", "multilingualism": "Multilingualism"}  # fmt: skip
RATES = ("alignment", "text")  # the metrics that have a pass mark


def matches(source: Source) -> bool:
    names = source.header()
    if len(names) < 2 or names[0] != "":
        return False
    second = source.head.lstrip("\ufeff").split("\n", 2)[1:2]
    try:
        cell = "".join(next(csv.reader(second), [])[:1])
    except csv.Error:
        return False
    return bool(INDEX.match(cell)) or tuple(names[1:]) in SUMMARY


def read(source: Source) -> Iterator[EvalRow]:
    names = source.header()[1:]
    if not names:
        raise ResultsError(f"{source.path}: no column of a model; OneIG's files have one a model")
    named = NAME.search(source.path.name)
    if tuple(names) in SUMMARY:
        yield from _summary(source, SUMMARY[tuple(names)])
        return
    if not named:
        raise ResultsError(
            f"{source.path}: its name must say the metric, as in alignment_prompt_score_EN_<time>.csv"
        )
    metric, language = named[1].lower(), named[3].upper()
    model = _model(source, names)
    classes = _classes(source)
    for at, row in records(source.path, ("",), "OneIG"):
        where = f"{source.path}:{at}"
        index = INDEX.match(row[""])
        if not index:
            raise ResultsError(
                f"{where}: the first column must be like anime_000 or 000, not {row['']!r:.40}"
            )
        folder = index[1] or {"text": "text", "reasoning": "reasoning", "style": "anime"}.get(metric, "")
        prompt, facets = classes.get((folder, index[2]), ("", ()))
        cell = row[model].strip()
        score = _text_score(where, cell, language) if metric == "text" else _plain(where, metric, cell)
        yield EvalRow(
            f"{folder}_{index[2]}",
            prompt,
            metric,
            score,
            facets=((("set", FOLDERS[folder]),) if index[1] else ()) + facets,
            reason="" if metric != "text" or not cell else f"edit distance, completion, word accuracy {cell}",
            benchmark="oneig",
            line=at,
            ranked=metric in RATES,
            note=""
            if metric in RATES
            else f"{metric} is a similarity without a pass mark: give --target {metric}=...",
        )


def _model(source: Source, names: list[str]) -> str:
    wanted = source.options.get("of")
    if wanted is None and len(names) > 1:
        raise ResultsError(f"{source.path}: several models; choose one with --of: {', '.join(names)}")
    if wanted is not None and wanted not in names:
        raise ResultsError(f"{source.path}: no model {wanted!r}; valid: {', '.join(names)}")
    return wanted or names[0]


def _plain(where: str, metric: str, cell: str) -> float | None:
    return None if cell == "" else number(where, metric, cell)


def _text_score(where: str, cell: str, language: str) -> float | None:
    if cell == "":
        return None
    try:
        parts = ast.literal_eval(cell)
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise ResultsError(f"{where}: must be '[ED, CR, WAC]', not {cell!r:.40}") from error
    if not isinstance(parts, list) or len(parts) != 3:
        raise ResultsError(f"{where}: must be '[ED, CR, WAC]', not {cell!r:.40}")
    return combine_text(
        number(where, "ED", parts[0], 0, float("inf")), number(where, "CR", parts[1]), number(where, "WAC", parts[2]),
        language,
    )  # fmt: skip


def combine_text(distance: float, completion: float, accuracy: float, language: str) -> float:
    most = 100.0 if language == "EN" else 50.0
    return 1 - min(most, distance) * (1 - completion) * (1 - accuracy) / most


def _summary(source: Source, metric: str) -> Iterator[EvalRow]:
    rows = [(at, row) for at, row in records(source.path)]
    wanted = source.options.get("of")
    models = [row[""] for _, row in rows]
    if len(set(models)) != len(models):
        raise ResultsError(f"{source.path}: a model is there twice")
    if wanted is None and len(models) > 1:
        raise ResultsError(f"{source.path}: several models; choose one with --of: {', '.join(models)}")
    if wanted is not None and wanted not in models:
        raise ResultsError(f"{source.path}: no model {wanted!r}; valid: {', '.join(models)}")
    for at, row in rows:
        if wanted in (None, row[""]):
            column = "text score" if metric == "text" else metric
            value = number(f"{source.path}:{at}", column, row[column])
            yield EvalRow(
                row[""], "", metric, value, benchmark="oneig", line=at, ranked=False, summary=1,
                note="a summary without counts has no interval: read the _prompt_score_ file instead",
            )  # fmt: skip


def _classes(source: Source) -> dict[tuple[str, str], tuple[str, Facets]]:
    sheet = source.companion("category", "id", beside=("OneIG-Bench.csv", "OneIG-Bench-ZH.csv"))
    if sheet is None:
        return {}
    folders = {v: k for k, v in FOLDERS.items()}
    out: dict[tuple[str, str], tuple[str, Facets]] = {}
    for _, row in records(sheet, ("category", "id"), "OneIG-Bench"):
        facets = tuple((d, row[c]) for d, c in (("class", "class"), ("length", "prompt_length"), ("type", "type"))
                       if row.get(c) not in (None, "", "None", "nan"))  # fmt: skip
        prompt = next((v for k, v in row.items() if k.startswith("prompt") and k != "prompt_length"), "")
        out[folders.get(row["category"], row["category"]), row["id"]] = (prompt, facets)
    return out
