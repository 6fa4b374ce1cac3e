"""lm-evaluation-harness ``results_<time>.json``: ``results.<task>."acc,none"`` with ``_stderr``.

Totals a task; the file's own standard error gives the interval. Groups are left out: they average
their tasks. Where a task has several metrics or filters and none is the usual one, choose with
``--map score=NAME``.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from datagen.errors import ResultsError
from datagen.evals.files import Source, number
from datagen.evals.json_stream import elements
from datagen.evals.rows import EvalRow

USUAL = ("acc,none", "exact_match,none", "exact_match,strict-match", "acc_norm,none", "f1,none")


def matches(source: Source) -> bool:
    head = source.head.lstrip()
    return head.startswith("{") and head[1:].lstrip().startswith('"results"') and '"alias"' in head


def read(source: Source) -> Iterator[EvalRow]:
    path = source.path
    sizes = {k: v for _, k, v in elements(path, "n-samples")}
    groups = {k for _, k, v in elements(path, "group_subtasks") if v} | {
        k for _, k, _ in elements(path, "groups")
    }
    for line, task, row in elements(path, "results"):
        where = f"{path}:{line}: {task}"
        if not isinstance(row, dict):
            raise ResultsError(f"{where}: must be an object, not {row!r:.40}")
        if task in groups or not any("," in k for k in row):
            continue
        name = _metric(where, row, source.options.get("score"))
        score = number(where, name, row[name])
        metric, _, kind = name.partition(",")
        error = row.get(f"{metric}_stderr,{kind}")
        size = sizes.get(task)
        n = size.get("effective") if isinstance(size, dict) else None
        if not isinstance(n, int) or isinstance(n, bool) or n < 1:
            raise ResultsError(f"{where}: n-samples has no effective count of it")
        stderr = None if error in (None, "N/A") else number(where, "stderr", error, 0, 1)
        yield EvalRow(
            str(task), "", str(task), score, summary=n, benchmark="lm-eval", line=line, stderr=stderr,
            note="totals only: interval from the file's standard error" if stderr else
                 "totals only: interval widened by the usual design effect of 2.5",
        )  # fmt: skip


def _metric(where: str, row: Mapping[str, Any], wanted: str | None) -> str:
    metrics = [k for k in row if "," in k and not k.partition(",")[0].endswith("_stderr")]
    if wanted is not None:
        found = [k for k in metrics if k == wanted or k.partition(",")[0] == wanted]
    else:
        found = [k for k in USUAL if k in metrics][:1] or metrics
    if len(found) != 1:
        raise ResultsError(f"{where}: choose a metric with --map score=NAME: {', '.join(metrics)}")
    return found[0]
