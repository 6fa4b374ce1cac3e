"""Walk one JSON document without holding it: the elements of an array or object inside it.

Kept beside ``files`` (which says why this is not ijson). Memory is one element and one buffer.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from datagen.errors import ResultsError
from datagen.evals.files import _CHUNK, _DECODER, LONGEST

_SPACE = " \t\r\n"


def elements(path: Path, *keys: str) -> Iterator[tuple[int, str | None, Any]]:
    """``(line, key, value)`` of each element of the array or object under ``keys``; key None in arrays.

    Raises ``ResultsError`` with the line for anything that is not strict JSON, and for trailing text.
    """
    try:
        with path.open(encoding="utf-8-sig", errors="strict", newline="") as file:
            walk = _Walk(path, file)
            yield from walk.descend(keys)
            walk.end()
    except UnicodeDecodeError as error:
        raise ResultsError(f"{path}: binary, not a results file ({error.reason})") from error
    except OSError as error:
        raise ResultsError(f"{path}: cannot be read: {error.strerror}") from error


class _Walk:
    def __init__(self, path: Path, file: Any) -> None:
        self.path, self.file, self.buffer, self.at, self.done = path, file, "", 0, False
        self.counted, self.line = 0, 1  # up to where line ends were counted, and the line there

    def here(self) -> int:
        """The line of the place that was reached; counts each stretch once."""
        self.line += self.buffer.count("\n", self.counted, self.at)
        self.counted = self.at
        return self.line

    def fail(self, what: str) -> ResultsError:
        return ResultsError(f"{self.path}:{self.here()}: not JSON: {what}")

    def more(self, size: int = _CHUNK) -> bool:
        """Drop what was read and append up to ``size`` characters; False at the end of the file."""
        self.here()
        chunk = self.file.read(size)
        self.buffer, self.at, self.counted = self.buffer[self.at :] + chunk, 0, 0
        self.done = not chunk
        return bool(chunk)

    def peek(self) -> str:
        """The next character that is not space; empty at the end."""
        while True:
            while self.at < len(self.buffer) and self.buffer[self.at] in _SPACE:
                self.at += 1
            if self.at < len(self.buffer):
                return self.buffer[self.at]
            if not self.more():
                return ""

    def take(self, wanted: str) -> str:
        found = self.peek()
        if not found or found not in wanted:
            raise self.fail(f"expected {' or '.join(wanted)}, found {found or 'the end (half-written?)'}")
        self.at += 1
        return found

    def value(self) -> Any:
        """The value that begins here."""
        if not self.peek():
            raise self.fail("the end, where a value should be (half-written?)")
        size = _CHUNK
        while True:
            try:
                found, end = _DECODER.raw_decode(self.buffer, self.at)
            except RecursionError as error:
                raise self.fail("nested too deeply") from error
            except json.JSONDecodeError as error:
                # Either the value goes on beyond the buffer, or it is wrong well before its end.
                if error.pos < len(self.buffer) - 64 and "Unterminated" not in error.msg:
                    raise self._placed(error) from error
                if len(self.buffer) - self.at > LONGEST:
                    raise self.fail(f"an element of more than {LONGEST >> 20} MB") from error
                if not self.more(size):
                    raise self._placed(error) from error
                size *= 2
                continue
            except ValueError as error:  # NaN, or a key given twice
                raise self.fail(str(error)) from error
            if end >= len(self.buffer) - 1 and not self.done:
                self.more(size)  # a number may go on in the next chunk
                continue
            self.at = end
            return found

    def _placed(self, error: json.JSONDecodeError) -> ResultsError:
        self.at = min(error.pos, len(self.buffer))
        return self.fail(error.msg + (" (half-written?)" if self.done else ""))

    def descend(self, keys: tuple[str, ...]) -> Iterator[tuple[int, str | None, Any]]:
        opened = self.take("[{")
        seen: set[str] = set()
        if keys and opened == "[":
            raise self.fail(f"an array, where an object with {keys[0]!r} should be")
        close = "]" if opened == "[" else "}"
        if self.peek() == close:
            self.at += 1
            return
        while True:
            key = None
            if opened == "{":
                key = self.value()
                if not isinstance(key, str):
                    raise self.fail(f"a key must be a string, not {key!r:.40}")
                if key in seen:
                    raise self.fail(f"field {key!r} is given twice")
                if len(seen) < 100_000:
                    seen.add(key)
                self.take(":")
            if keys and key == keys[0]:
                yield from self.descend(keys[1:])
            else:
                self.peek()
                line = self.here()
                found = self.value()
                if not keys:
                    yield line, key, found
            if self.take("," + close) == close:
                return

    def end(self) -> None:
        if extra := self.peek():
            raise self.fail(f"text after the end: {extra!r}")
