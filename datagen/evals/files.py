"""Files to lines, CSV records and JSON elements: streamed, strict, every error with its line.

A results file can be larger than memory, so nothing here holds a whole file. JSON arrays are walked
with the standard library's decoder over a sliding buffer, not with ijson: that takes NaN and a key
given twice in silence, and knows no line numbers. Half-written files are refused.
"""

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from datagen.errors import ResultsError

HEAD = 65_536  # characters that detection looks at
LONGEST = 64 << 20  # bytes of one line or one JSON element: beyond it a file is not what it says
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Source:
    """A results file or folder, its beginning, and what the user said about it."""

    path: Path
    head: str = ""  # empty for a folder
    options: Mapping[str, str] = field(default_factory=dict)  # --map, --of
    companions: tuple[Path, ...] = ()  # --benchmark: the benchmark's own data

    @property
    def first_line(self) -> str:
        return self.head.lstrip("\ufeff \r\n\t").split("\n", 1)[0]

    def first_object(self) -> dict[str, Any]:
        """The first line as a JSON object; if it is cut off, its keys are found by looking."""
        line = self.first_line
        if not line.startswith("{"):
            return {}
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            return {piece.rsplit('"', 1)[-1]: None for piece in line.split('":')[:-1]}
        return row if isinstance(row, dict) else {}

    def header(self) -> list[str]:
        """The first line as CSV (or TSV) column names."""
        try:
            return next(csv.reader([self.first_line.rstrip("\r")], delimiter=delimiter(self.first_line)), [])
        except csv.Error:
            return []

    def companion(self, *columns: str, beside: tuple[str, ...] = ()) -> Path | None:
        """The benchmark file that has ``columns``: one given with --benchmark, or ``beside`` the results."""
        folder = self.path if self.path.is_dir() else self.path.parent
        for path in (*self.companions, *(folder / name for name in beside)):
            if path.is_file():
                head = open_source(path)
                if all(c in head.header() or c in head.first_object() for c in columns):
                    return path
        return None


def open_source(
    path: Path, options: Mapping[str, str] | None = None, companions: tuple[Path, ...] = ()
) -> Source:
    """Look at the beginning. Raises ``ResultsError`` for what is missing, empty or binary."""
    if path.is_dir():
        return Source(path, "", options or {}, companions)
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError as error:
        raise ResultsError(f"{path}: cannot be read: {error.strerror}") from error
    if not head.strip():
        raise ResultsError(f"{path}: empty")
    if head[:4] == b"PK\x03\x04":
        raise ResultsError(f"{path}: an archive; unpack it (inspect: inspect log convert --to json)")
    return Source(path, _text(path, head), options or {}, companions)


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


def lines(path: Path, complete: bool = False) -> Iterator[tuple[int, str]]:
    """``(number, line)`` of the lines that are not blank, without their ends.

    ``complete``: a last line without its end is refused, where a cut line could pass for a whole one.
    """
    number = 0
    try:
        with path.open(encoding="utf-8-sig", errors="strict", newline="\n") as file:
            while line := file.readline(LONGEST):
                number += 1
                if len(line) >= LONGEST:
                    raise ResultsError(f"{path}:{number}: a line of more than {LONGEST >> 20} MB")
                if complete and not line.endswith("\n"):
                    raise ResultsError(
                        f"{path}:{number}: the last line has no end: half-written? (if not, end it)"
                    )
                if not line.isspace():
                    yield number, line.rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise ResultsError(f"{path}:{number + 1}: binary, not a results file ({error.reason})") from error
    except OSError as error:
        raise ResultsError(f"{path}: cannot be read: {error.strerror}") from error


def _reject_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a score")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) != len(pairs):
        twice = next(k for i, (k, _) in enumerate(pairs) if k in dict(pairs[:i]))
        raise ValueError(f"field {twice!r} is given twice")
    return row


_DECODER = json.JSONDecoder(parse_constant=_reject_constant, object_pairs_hook=_unique)


def parse(where: str, text: str) -> Any:
    """Strict JSON: no NaN, no key given twice. ``where`` begins the error."""
    try:
        return _DECODER.decode(text)
    except RecursionError as error:
        raise ResultsError(f"{where}: nested too deeply") from error
    except ValueError as error:
        raise ResultsError(f"{where}: not JSON: {error}") from error


def parse_object(path: Path, number: int, text: str, needed: tuple[str, ...], kind: str) -> dict[str, Any]:
    """A JSON object that has the ``needed`` keys of a ``kind``, from a line of a file (0: a whole file)."""
    try:
        row = _DECODER.decode(text)
    except (ValueError, RecursionError):
        row = parse(f"{path}:{number}" if number else str(path), text)  # says it in words
    if isinstance(row, dict):
        for key in needed:
            if key not in row:
                break
        else:
            return row
        what = f"field {key!r} is missing"
    else:
        what = "not an object"
    where = f"{path}:{number}" if number else str(path)
    raise ResultsError(f"{where}: {what}" + (f"; a {kind} row has {', '.join(needed)}" if needed else ""))


def delimiter(header: str) -> str:
    return "\t" if "\t" in header and "," not in header else ","


def records(
    path: Path, needed: tuple[str, ...] = (), kind: str = "CSV"
) -> Iterator[tuple[int, dict[str, str]]]:
    """``(line, record)`` of a CSV or TSV file that has the ``needed`` columns of a ``kind``.

    Raises ``ResultsError`` for short, long or half-written records.
    """
    csv.field_size_limit(LONGEST)
    number = 1
    try:
        with path.open(encoding="utf-8-sig", errors="strict", newline="") as file:
            first = file.readline(LONGEST)
            file.seek(0)
            whole = _Whole(file)
            reader = csv.reader(whole, delimiter=delimiter(first), strict=True)
            names = next(reader, [])
            if len(set(names)) != len(names):
                raise ResultsError(f"{path}:1: a column is named twice")
            if lacking := [name for name in needed if name not in names]:
                raise ResultsError(f"{path}:1: no column {lacking[0]!r}; {kind} has {', '.join(needed)}")
            for cells in reader:
                number = reader.line_num
                if not cells or cells == [""]:
                    continue
                if len(cells) != len(names):
                    raise ResultsError(f"{path}:{number}: {len(cells)} columns, the header has {len(names)}")
                if not whole.ended:
                    raise ResultsError(
                        f"{path}:{number}: the last line has no end: half-written? (if not, end it)"
                    )
                yield number, dict(zip(names, cells, strict=True))
    except csv.Error as error:
        raise ResultsError(f"{path}:{number + 1}: not CSV: {error}") from error
    except UnicodeDecodeError as error:
        raise ResultsError(f"{path}:{number + 1}: binary, not a results file ({error.reason})") from error
    except OSError as error:
        raise ResultsError(f"{path}: cannot be read: {error.strerror}") from error


class _Whole:
    """The lines of a file, remembering whether the last one was ended."""

    def __init__(self, file: Any) -> None:
        self.file, self.ended = file, True

    def __iter__(self) -> "_Whole":
        return self

    def __next__(self) -> str:
        line = self.file.readline(LONGEST)
        if not line:
            raise StopIteration
        self.ended = line.endswith(("\n", "\r"))
        return str(line)


def number(where: str, name: str, value: Any, low: float = 0.0, high: float = 1.0) -> float:
    """A finite number within [low, high], given as one or as text."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ResultsError(f"{where}: {name} must be a number, not {value!r:.40}")
    try:
        found = float(value)
    except (ValueError, OverflowError) as error:
        raise ResultsError(f"{where}: {name} must be a number, not {value!r:.40}") from error
    if not low <= found <= high:  # NaN fails too
        raise ResultsError(f"{where}: {name} must lie within {low:g} and {high:g}, not {value!r:.40}")
    return found


def text(where: str, name: str, value: Any) -> str:
    """A string that is not empty."""
    if not isinstance(value, str) or not value.strip():
        raise ResultsError(f"{where}: {name} must be a string, not {value!r:.40}")
    return value
