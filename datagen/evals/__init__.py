"""Result files to rows. One reader a format; exactly one must match a file, by its content.

To add one: a module here with ``matches(source)`` and ``read(source)``, and a line in ``READERS``.
Readers stream; ``stream`` hands their rows on, ``read_results`` and ``merge`` make lists of them.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path

from datagen.errors import ResultsError, UnknownName
from datagen.evals.duplicates import Duplicates
from datagen.evals.files import Source, open_source
from datagen.evals.rows import EvalRow

READERS: dict[str, str] = {
    "geneval": "datagen.evals.geneval",
    "geneval-summary": "datagen.evals.geneval_summary",
    "geneval2": "datagen.evals.geneval2",
    "dpg": "datagen.evals.dpg",
    "dpg-detail": "datagen.evals.dpg_detail",
    "wise": "datagen.evals.wise",
    "oneig": "datagen.evals.oneig",
    "t2i-compbench": "datagen.evals.t2i_compbench",
    "tiif": "datagen.evals.tiif",
    "unigenbench": "datagen.evals.unigenbench",
    "dsg": "datagen.evals.dsg",
    "tifa": "datagen.evals.tifa",
    "lm-eval": "datagen.evals.lm_eval",
    "lm-eval-samples": "datagen.evals.lm_eval_samples",
    "inspect": "datagen.evals.inspect_log",
    "helm": "datagen.evals.helm",
    "map": "datagen.evals.mapped",
}

SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".txt")

__all__ = ["READERS", "EvalRow", "detect", "merge", "read_results", "stream"]


def stream(
    path: str | Path,
    format: str | None = None,
    options: Mapping[str, str] | None = None,
    companions: Sequence[str | Path] = (),
) -> Iterator[EvalRow]:
    """The rows of a results file or folder, one by one; the format detected unless given.

    ``options``: what ``--map`` and ``--of`` say. ``companions``: the benchmark's own data files.
    Raises ``ResultsError`` naming the file, and the line where one is at fault.
    """
    path, options = Path(path), options or {}
    if format is not None and format not in READERS:
        raise UnknownName("results format", format, READERS)
    if gone := [c for c in companions if not Path(c).exists()]:
        raise ResultsError(f"--benchmark {gone[0]}: no such file")
    source = open_source(path, options, tuple(map(Path, companions)))
    if format is None and source.path.is_dir():
        source = _inside(source)
    if format is None:
        format = "map" if {"category", "score"} <= options.keys() else detect(source)
    rows = import_module(READERS[format]).read(source)
    first = next(rows, None)
    if first is None:
        raise ResultsError(f"{path}: no rows in format {format}")
    yield first
    yield from rows


def _inside(folder: Source) -> Source:
    """The one results file in a folder that no reader takes whole; the folder where there is none.

    Raises ``ResultsError`` listing them where there are several.
    """
    if _takers(folder):
        return folder
    taken = []
    for path in sorted(p for p in folder.path.iterdir() if p.suffix in SUFFIXES):
        try:
            source = open_source(path, folder.options, folder.companions)
        except ResultsError:  # not a results file, whatever it is
            continue
        taken += [source] if len(_takers(source)) == 1 else []
    if len(taken) > 1:
        names = ", ".join(s.path.name for s in taken)
        raise ResultsError(f"{folder.path}: several results files; name one of {names}")
    return taken[0] if taken else folder


def _takers(source: Source) -> list[str]:
    return [name for name, module in READERS.items() if import_module(module).matches(source)]


def detect(source: Source) -> str:
    """The one reader that takes this. Raises ``ResultsError`` listing them where none or several do."""
    found = _takers(source)
    if len(found) == 1:
        return found[0]
    what = "no reader" if not found else f"more than one reader ({', '.join(found)})"
    how = "force one with --format, or name the columns with --map category=...,score=...,prompt=..."
    raise ResultsError(f"{source.path}: {what} takes this; {how}; formats: {', '.join(READERS)}")


def read_results(
    path: str | Path,
    format: str | None = None,
    options: Mapping[str, str] | None = None,
    companions: Sequence[str | Path] = (),
) -> list[EvalRow]:
    """All rows of a results file; the same image twice is an error that names both lines."""
    return merge([(path, format)], options, companions)


def merge(
    files: Iterable[tuple[str | Path, str | None]],
    options: Mapping[str, str] | None = None,
    companions: Sequence[str | Path] = (),
) -> list[EvalRow]:
    """Rows of several files; the same prompt's same image twice is an error."""
    return list(stream_all(files, options, companions))


def stream_all(
    files: Iterable[tuple[str | Path, str | None]],
    options: Mapping[str, str] | None = None,
    companions: Sequence[str | Path] = (),
) -> Iterator[EvalRow]:
    """``merge`` without holding the rows: duplicates are raised after the last."""
    seen = Duplicates()
    add = seen.add
    for path, format in files:
        seen.file(str(path))
        for row in stream(path, format, options, companions):
            add(row)
            yield row
    seen.check()
