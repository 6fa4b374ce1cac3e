"""What a run directory holds and which bytes of it are to be trusted.

``manifest.json`` has the settings and the checksum of the prompts; ``shards.jsonl`` grows by a line for
each finished shard, its sha256 and what was quarantined from it. Both check themselves: a line or a
file whose own checksum differs is named, and what it vouched for is made again. Appending keeps a
build of a million shards linear; a rewritten manifest would not.
"""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from datagen.errors import InputError, ShardError
from datagen.prompt_file import NAME as PROMPTS
from datagen.shards import check_shard, write_atomic

CHECK = 16  # hexadecimal digits of a line's own checksum
Row = dict[str, Any]


class Manifest:
    """``shards`` are name to sha256, ``quarantined`` name to rows; ``damage`` are lines not trusted."""

    def __init__(self, run: Path, settings: Row, prompts: str = "") -> None:
        self.run, self.settings, self.prompts = run, settings, prompts
        self.shards: dict[str, str] = {}
        self.quarantined: dict[str, list[Row]] = {}
        self.damage: list[str] = []

    @property
    def log(self) -> Path:
        return self.run / "shards.jsonl"

    def check_prompts(self) -> None:
        """Raises ``ShardError`` when ``prompts.jsonl`` is not what was recorded."""
        path, found = self.run / PROMPTS, ""
        if path.exists():
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != self.prompts:
            raise ShardError(f"{path}: torn, changed or missing (checksum differs)")

    def check_shard(self, name: str) -> bool:
        """Whether shard ``name`` stands. Raises ``ShardError`` for one that does and is not to be trusted."""
        path = self.run / "shards" / name
        if name in self.shards:
            check_shard(path, self.shards[name])
        elif path.exists():
            raise ShardError(f"{path}: not in {self.log.name}")
        return name in self.shards

    def check(self) -> list[str]:
        """All that is damaged in the run, a line each."""
        found = list(self.damage)
        names = {*self.shards, *(path.name for path in (self.run / "shards").glob("*.parquet"))}
        checks: list[Callable[[], object]] = [self.check_prompts]
        checks += [partial(self.check_shard, name) for name in sorted(names)]
        for check in checks:
            try:
                check()
            except ShardError as error:
                found.append(str(error))
        return found

    def record(self, name: str, sha256: str, quarantined: Sequence[Row] = ()) -> None:
        """A finished shard, on disk before this returns. Raises ``ShardError`` where it cannot be."""
        self._take({"name": name, "sha256": sha256, "quarantined": list(quarantined)})
        try:
            with self.log.open("a", encoding="utf-8") as file:
                file.write(_line(self._row(name)))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise ShardError(
                f"{self.log}: cannot be written: {error.strerror}; free space and run again"
            ) from error

    def set_prompts(self, sha256: str) -> None:
        """Other prompts than before: what was rendered from those is not used."""
        if sha256 != self.prompts:
            self.log.unlink(missing_ok=True)
            self.shards.clear()
            self.quarantined.clear()
        self.prompts = sha256
        self.save()

    def save(self) -> None:
        """``manifest.json``, all of it or nothing."""
        write_atomic(self.run / "manifest.json", self._text())

    def _text(self) -> bytes:
        row = {"settings": self.settings, "prompts": self.prompts}
        return (json.dumps({**row, "sha256": _digest(row)}, indent=1, sort_keys=True) + "\n").encode()

    def read_log(self) -> None:
        """Lines that are torn, changed or of other prompts are named in ``damage``, and left out.

        The log is then written anew, so that the next line begins on a line of its own.
        """
        data = self.log.read_bytes() if self.log.exists() else b""
        for number, line in enumerate(data.decode(errors="replace").split("\n"), 1):
            row = _parse(line)
            if row is not None and row["prompts"] == self.prompts[:CHECK]:
                self._take(row)
            elif line:
                why = "torn or changed (checksum differs)" if row is None else "of other prompts"
                self.damage.append(f"{self.log}:{number}: {why}")
        whole = "".join(_line(self._row(name)) for name in self.shards)
        if whole.encode() != data:
            write_atomic(self.log, whole.encode())

    def _take(self, row: Row) -> None:
        self.shards[row["name"]] = row["sha256"]
        self.quarantined.pop(row["name"], None)
        if row["quarantined"]:
            self.quarantined[row["name"]] = row["quarantined"]

    def _row(self, name: str) -> Row:
        return {
            "name": name,
            "sha256": self.shards[name],
            "quarantined": self.quarantined.get(name, []),
            "prompts": self.prompts[:CHECK],  # what the shard was rendered from
        }


def read_manifest(run: Path) -> Manifest:
    """The manifest of ``run`` as it stands. Raises ``ShardError`` for one that is missing or damaged."""
    path = run / "manifest.json"
    try:
        data = path.read_bytes()
        row = json.loads(data)
        manifest = Manifest(run, row["settings"], row["prompts"])
        if manifest._text() != data:
            raise ValueError("checksum differs")
    except OSError as error:
        raise ShardError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ShardError(f"{path}: torn or changed; --force begins again ({error})") from error
    manifest.read_log()
    return manifest


def open_manifest(run: Path, settings: Row, force: bool) -> Manifest:
    """The manifest of ``run``, a new one if there is none.

    Raises ``InputError`` saying what changed when shards were made with other settings (``force`` begins
    again; so does a run that has no shard yet, as nothing is lost), ``ShardError`` for a damaged one.
    """
    path = run / "manifest.json"
    for left in (run / "shards").glob(".*.parquet.*"):  # half-written when a build was killed
        left.unlink(missing_ok=True)
    if path.exists() and not force:
        manifest = read_manifest(run)
        known = manifest.settings  # builds of before weights were recorded have none
        changed = changes(known, {k: v for k, v in settings.items() if k in known or k != "weights"})
        if not changed:
            return manifest
        if manifest.shards or manifest.damage:
            raise InputError(f"{run} was begun with other settings: {changed}; use --force or another --run")
    new = Manifest(run, settings)
    if path.exists() or new.log.exists():
        for name in _recipes_of(path):
            (run / "recipes" / f"{name}.yaml").unlink(missing_ok=True)
        path.unlink(missing_ok=True)  # first, so that a kill in between leaves nothing that claims the rest
        new.log.unlink(missing_ok=True)
        (run / PROMPTS).unlink(missing_ok=True)
        for shard in (run / "shards").glob("*.parquet"):
            shard.unlink()
    new.save()
    return new


def _recipes_of(path: Path) -> list[str]:
    """The recipes that a manifest names; of one that cannot be read, none."""
    try:
        return [Path(name).name for name in json.loads(path.read_bytes())["settings"]["recipes"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _digest(row: Row) -> str:
    return hashlib.sha256(json.dumps(row, sort_keys=True).encode()).hexdigest()


def _line(row: Row) -> str:
    return f"{_digest(row)[:CHECK]} {json.dumps(row, sort_keys=True)}\n"


def _parse(line: str) -> Row | None:
    check, _, text = line.partition(" ")
    try:
        row = json.loads(text)
    except ValueError:
        return None
    return row if isinstance(row, dict) and f"{check} {text}\n" == _line(row) else None


def changes(before: Any, now: Any, at: str = "") -> str:
    """The first few differing settings as ``path: old -> new``; empty if there are none."""
    if isinstance(before, dict) and isinstance(now, dict):
        found = [
            changes(before.get(k), now.get(k), f"{at}.{k}" if at else k) for k in sorted({*before, *now})
        ]
        return "; ".join([f for f in found if f][:3])
    return "" if before == now else f"{at}: {_short(before)} -> {_short(now)}"


def _short(value: Any) -> str:
    return "none" if value is None else "{...}" if isinstance(value, dict) else str(value)
