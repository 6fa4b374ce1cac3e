"""Result files to rows. One reader a format; exactly one must match a file.

To add one: a module here with ``matches(head)`` and ``read(path)``, and a line in ``READERS``.
"""

from collections.abc import Iterable
from importlib import import_module
from pathlib import Path

from datagen.errors import ResultsError, UnknownName
from datagen.evals.rows import EvalRow

READERS: dict[str, str] = {
    "geneval": "datagen.evals.geneval",
    "geneval-summary": "datagen.evals.geneval_summary",
}
HEAD = 65_536  # bytes that detection looks at

__all__ = ["READERS", "EvalRow", "read_results"]


def read_results(path: str | Path, format: str | None = None) -> list[EvalRow]:
    """All rows of a results file, the format detected by content unless given.

    Raises ``ResultsError`` naming the file, and the line where one is at fault.
    """
    path = Path(path)
    if format is not None and format not in READERS:
        raise UnknownName("results format", format, READERS)
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError as error:
        raise ResultsError(f"{path}: cannot be read: {error.strerror}") from error
    if not head.strip():
        raise ResultsError(f"{path}: empty")
    text = _text(path, head)
    if format is None:
        found = [name for name, module in READERS.items() if import_module(module).matches(text)]
        if len(found) != 1:
            what = "no reader" if not found else f"more than one reader ({', '.join(found)})"
            raise ResultsError(f"{path}: {what} takes this; force one with --format: {', '.join(READERS)}")
        format = found[0]
    rows = list(import_module(READERS[format]).read(path))
    if not rows:
        raise ResultsError(f"{path}: no rows in format {format}")
    return rows


def _text(path: Path, head: bytes) -> str:
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4 or len(head) < HEAD:  # not merely cut inside a character
            raise ResultsError(f"{path}: binary, not a results file (byte {error.start})") from error
        text = head[: error.start].decode("utf-8")
    if "\x00" in text:
        raise ResultsError(f"{path}: binary, not a results file (byte {text.index(chr(0))})")
    return text


def merge(files: Iterable[tuple[str | Path, str | None]]) -> list[EvalRow]:
    """Rows of several files; the same prompt's same image twice is an error."""
    rows: list[EvalRow] = []
    seen: dict[tuple[str, str, int], str] = {}
    for path, format in files:
        for row in read_results(path, format):
            key = (row.category, row.prompt_id, row.image)
            if key in seen and not row.summary:
                raise ResultsError(
                    f"{path}: {row.category} {row.prompt_id} image {row.image} also in {seen[key]}"
                )
            seen[key] = str(path)
            rows.append(row)
    return rows
