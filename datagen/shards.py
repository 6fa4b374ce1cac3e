"""Shards: the samples of some prompt groups in one parquet file, written atomically, checked on read.

A shard whose bytes are not those the manifest vouches for is named and made again, never trusted.
"""

import hashlib
import io
import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datagen.errors import ShardError
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
    partial = _partial(path)
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise ShardError(f"{path}: cannot be written: {error.strerror}; free space and run again") from error


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.{platform.node()}.{os.getpid()}")  # nodes may share the folder


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


def read_shard(path: Path, sha256: str) -> list[Sample]:
    """Raises ``ShardError`` naming the file when it is missing or its bytes are not those written."""
    import pyarrow.parquet as pq

    data = check_shard(path, sha256)
    return [from_row(row) for row in pq.read_table(io.BytesIO(data)).to_pylist()]


def check_shard(path: Path, sha256: str) -> bytes:
    """The bytes of a shard, unopened. Raises ``ShardError`` as ``read_shard`` does."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ShardError(f"{path}: missing") from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ShardError(f"{path}: torn or changed (checksum differs)")
    return data


def _schema() -> Any:
    import pyarrow as pa

    kinds = {"seed": pa.int64(), "candidate": pa.int32(), "image": pa.binary()}
    kinds |= dict.fromkeys(("reward", "advantage", "text_weight", "image_weight"), pa.float64())
    return pa.schema([(name, kinds.get(name, pa.string())) for name in Sample.__dataclass_fields__])
