"""HELM's ``per_instance_stats.json``: a list of instances with named ``stats`` (sum, count, mean).

The metric is HELM's usual accuracy, or ``--map score=NAME``. Perturbed copies of an instance are left
out: they belong to robustness, and would count it twice. The run's folder is the category.
"""

from collections.abc import Iterator
from typing import Any

from datagen.errors import ResultsError
from datagen.evals.files import Source, number
from datagen.evals.json_stream import elements
from datagen.evals.rows import EvalRow

USUAL = ("quasi_exact_match", "exact_match", "prefix_exact_match", "quasi_prefix_exact_match")


def matches(source: Source) -> bool:
    squeezed = "".join(source.head[:65_536].split())
    return squeezed.startswith("[{") and '"instance_id":' in squeezed and '"stats":[' in squeezed


def read(source: Source) -> Iterator[EvalRow]:
    path, chosen = source.path, source.options.get("score")
    for line, key, row in elements(path):
        where = f"{path}:{line}"
        stats = row.get("stats") if isinstance(row, dict) else None
        if key is not None or not isinstance(stats, list) or "instance_id" not in row:
            raise ResultsError(f"{where}: must be an instance_id with stats, not {row!r:.40}")
        if row.get("perturbation"):
            continue
        found = (
            {_name(where, s): s for s in stats if not s["name"].get("perturbation")}
            if _named(where, stats)
            else {}
        )
        chosen = chosen or next((m for m in USUAL if m in found), None)
        if chosen is None or (found and chosen not in found):
            raise ResultsError(f"{where}: choose a metric with --map score=NAME: {', '.join(sorted(found))}")
        stat = found.get(chosen, {})
        mean = stat.get("mean")
        trial = row.get("train_trial_index", 0)
        yield EvalRow(
            str(row["instance_id"]), "", path.parent.name or "helm",
            None if mean is None or not stat.get("count", 1) else number(where, chosen, mean),
            trial if isinstance(trial, int) else 0, benchmark="helm", line=line,
        )  # fmt: skip


def _named(where: str, stats: list[Any]) -> bool:
    if not all(isinstance(s, dict) and isinstance(s.get("name"), dict) for s in stats):
        raise ResultsError(f"{where}: every stat must be an object with a name")
    return True


def _name(where: str, stat: dict[str, Any]) -> str:
    name = stat["name"].get("name")
    if not isinstance(name, str):
        raise ResultsError(f"{where}: a stat's name must be a string, not {name!r:.40}")
    return name
