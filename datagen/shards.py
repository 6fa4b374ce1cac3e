"""Shards: the samples of some prompt groups in one parquet file, written atomically, checked on read.

The manifest holds the settings, the checksum of the prompts, and every finished shard with its sha256;
a shard whose bytes differ is named and made again, never trusted.
"""

import hashlib
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datagen.errors import InputError, ShardError
from datagen.sample import Sample, Score, Target


def to_row(sample: Sample) -> dict[str, Any]:
    """A flat row: target and scores as JSON, the image as PNG bytes."""
    row = {k: getattr(sample, k) for k in Sample.__dataclass_fields__}
    row["target"] = json.dumps(sample.target.to_dict(), sort_keys=True)
    row["scores"] = json.dumps(
        [{"name": s.name, "value": s.value, "reason": s.reason} for s in sample.scores], sort_keys=True
    )
    return row


def from_row(row: dict[str, Any]) -> Sample:
    """The inverse of ``to_row``."""
    return Sample(
        **{
            **row,
            "target": Target.from_dict(json.loads(row["target"])),
            "scores": tuple(Score(**s) for s in json.loads(row["scores"])),
        }
    )


def write_atomic(path: Path, data: bytes) -> None:
    """All of ``data`` or nothing, also after a crash."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise ShardError(f"{path}: cannot be written: {error.strerror}; free space and run again") from error


def write_shard(path: Path, samples: Sequence[Sample]) -> str:
    """Write one shard; returns the sha256 of its bytes, which depend on the samples only."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pylist([to_row(s) for s in samples], schema=_schema())
    out = io.BytesIO()
    pq.write_table(table, out, compression="zstd")
    data = out.getvalue()
    write_atomic(path, data)
    return hashlib.sha256(data).hexdigest()


def check_shard(path: Path, sha256: str) -> bytes:
    """The bytes; raises ``ShardError`` naming the file when it is missing or they are not those written."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ShardError(f"{path}: missing") from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ShardError(f"{path}: torn or changed (checksum differs)")
    return data


def read_shard(path: Path, sha256: str) -> list[Sample]:
    """The samples of a shard. Raises ``ShardError`` as ``check_shard`` does."""
    import pyarrow.parquet as pq

    data = check_shard(path, sha256)
    return [from_row(row) for row in pq.read_table(io.BytesIO(data)).to_pylist()]


def _schema() -> Any:
    import pyarrow as pa

    kinds = {"seed": pa.int64(), "candidate": pa.int32(), "image": pa.binary()}
    kinds |= dict.fromkeys(("reward", "advantage", "text_weight", "image_weight"), pa.float64())
    return pa.schema([(name, kinds.get(name, pa.string())) for name in Sample.__dataclass_fields__])


def open_manifest(run: Path, settings: dict[str, Any], force: bool) -> dict[str, Any]:
    """The manifest of ``run``: ``settings``, ``shards`` and, once written, ``prompts``; a new one if none.

    Raises ``InputError`` saying what changed when shards were made with other settings (``force`` begins
    again; so does a run that has no shard yet, as nothing is lost), ``ShardError`` for a torn one.
    """
    path = run / "manifest.json"
    for left in (run / "shards").glob(".*.parquet.*"):  # half-written when a build was killed
        left.unlink(missing_ok=True)
    if path.exists() and not force:
        try:
            manifest = json.loads(path.read_text())
            before = manifest["settings"]
            if not isinstance(manifest["shards"], dict):
                raise TypeError("shards is not a mapping")
        except (ValueError, KeyError, TypeError) as error:
            raise ShardError(f"{path}: torn or changed; --force begins again ({error})") from error
        changed = changes(before, settings)
        if not changed:
            return manifest
        if manifest["shards"]:
            raise InputError(f"{run} was begun with other settings: {changed}; use --force or another --run")
    if path.exists():
        path.unlink()  # first, so that a kill in between leaves nothing that claims the rest
        (run / "prompts.json").unlink(missing_ok=True)
        for shard in (run / "shards").glob("*.parquet"):
            shard.unlink()
    manifest = {"settings": settings, "shards": {}}
    save_manifest(run, manifest)
    return manifest


def save_manifest(run: Path, manifest: dict[str, Any]) -> None:
    """All of it or nothing."""
    write_atomic(run / "manifest.json", (json.dumps(manifest, indent=1, sort_keys=True) + "\n").encode())


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
