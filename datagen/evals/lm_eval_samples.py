"""lm-evaluation-harness ``samples_<task>_<time>.jsonl``: a line a document and filter.

The task, from the file's name, is the category. A document judged under several filters would count
twice: choose one with ``--map filter=NAME``; a metric with ``--map score=NAME``.
"""

import re
from collections.abc import Iterator
from typing import Any

from datagen.errors import ResultsError
from datagen.evals.files import Source, lines, number, parse_object
from datagen.evals.rows import EvalRow

NEEDED = ("doc_id", "filtered_resps")
NAME = re.compile(r"^samples_(.+?)(?:_\d{4}-\d{2}-\d{2}T.*)?$")
USUAL = ("acc", "exact_match", "acc_norm", "f1")


def matches(source: Source) -> bool:
    row = source.first_object()
    return all(key in row for key in NEEDED)


def read(source: Source) -> Iterator[EvalRow]:
    path, wanted, metric = source.path, source.options.get("filter"), source.options.get("score")
    named = NAME.match(path.stem)
    task = named[1] if named else path.stem
    filters: set[str] = set()
    for at, line in lines(path):
        where = f"{path}:{at}"
        row = parse_object(path, at, line, NEEDED, "lm-eval sample")
        filters.add(str(row.get("filter", "none")))
        if wanted is None and len(filters) > 1:
            raise ResultsError(
                f"{where}: several filters; choose with --map filter=NAME: {', '.join(sorted(filters))}"
            )
        metric = metric or _metric(where, row)
        if metric not in row:
            raise ResultsError(f"{where}: no metric {metric!r}")
        if wanted in (None, str(row.get("filter", "none"))):
            doc = row.get("doc")
            asked = next((doc[k] for k in ("question", "query", "prompt") if isinstance(doc.get(k), str)), "") \
                if isinstance(doc, dict) else ""  # fmt: skip
            value = row[metric]
            score = (
                None
                if value is None
                else number(where, metric, float(value) if isinstance(value, bool) else value)
            )
            yield EvalRow(
                str(row["doc_id"]), asked, task, score, reason=f"answered {row['filtered_resps']!r:.80}",
                benchmark="lm-eval", line=at,
            )  # fmt: skip
    if wanted is not None and wanted not in filters:
        raise ResultsError(f"{path}: no filter {wanted!r}; valid: {', '.join(sorted(filters))}")


def _metric(where: str, row: dict[str, Any]) -> str:
    listed = row.get("metrics")
    names = [str(x) for x in listed] if isinstance(listed, list) else [k for k in USUAL if k in row]
    usual = [k for k in USUAL if k in names][:1] or names
    if len(usual) != 1:
        raise ResultsError(
            f"{where}: choose a metric with --map score=NAME: {', '.join(names) or 'none found'}"
        )
    return usual[0]
