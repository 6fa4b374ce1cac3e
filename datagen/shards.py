"""Shards: the samples of some prompt groups in one parquet file, written atomically, checked on read.

A shard whose bytes are not those the manifest vouches for is named and made again, never trusted. Beside
the samples' fields it has their pictures' thumbnails. The column ``latent`` is there only where a sample
has one.
"""

import hashlib
import io
import json
import os
import platform
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

from datagen.errors import ShardError
from datagen.sample import Sample, Score, Target
from datagen.thumbnails import thumbnail


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
            "target": parse_target(row["target"]),
            "scores": tuple(Score(**s) for s in json.loads(row["scores"])),
        }
    )


@lru_cache(4096)
def parse_target(text: str) -> Target:
    """A target as ``to_row`` wrote it; the candidates of a prompt share one."""
    return Target.from_dict(json.loads(text))


@lru_cache(4096)
def target_key(text: str) -> str:
    """``Target.key`` of a target as ``to_row`` wrote it."""
    return parse_target(text).key


@contextmanager
def atomic(path: Path, synced: bool = True) -> Iterator[IO[bytes]]:
    """A file to write that becomes ``path`` as a whole or not at all; also when the power fails, if ``synced``.

    Raises ``ShardError`` naming it when the disk is full.
    """
    partial = _partial(path)
    try:
        with partial.open("wb") as file:
            yield file
            if synced:
                file.flush()
                os.fsync(file.fileno())
        partial.replace(path)
    except (ConnectionError, TimeoutError):
        raise  # of a server that what is written comes from
    except OSError as error:
        raise ShardError(f"{path}: cannot be written: {error.strerror}; free space and run again") from error
    finally:
        partial.unlink(missing_ok=True)


def write_atomic(path: Path, data: bytes) -> None:
    """All of ``data`` or nothing."""
    with atomic(path) as file:
        file.write(data)


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.{platform.node()}.{os.getpid()}")  # nodes may share the folder


def write_shard(path: Path, samples: Sequence[Sample]) -> str:
    """Write one shard; returns the sha256 of its bytes, which depend on the samples only."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [to_row(s) | {"thumbnail": thumbnail(s.image) if s.image is not None else None} for s in samples]
    table = pa.Table.from_pylist(rows, schema=_schema(any(s.latent is not None for s in samples)))
    out = io.BytesIO()
    pq.write_table(table, out, compression="zstd")
    data = out.getvalue()
    with atomic(path, synced=False) as file:  # one that the power takes fails its checksum, and is made again
        file.write(data)
    return hashlib.sha256(data).hexdigest()


def read_shard(path: Path, sha256: str) -> list[Sample]:
    """Raises ``ShardError`` naming the file when it is missing or its bytes are not those written."""
    return [from_row(row) for row in read_columns(path, sha256, tuple(Sample.__dataclass_fields__))]


def read_columns(path: Path, sha256: str, columns: Sequence[str]) -> list[dict[str, Any]]:
    """Some columns of a shard, a dict a row. Raises ``ShardError`` as ``read_shard`` does."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    data = check_shard(path, sha256)
    return pq.ParquetFile(pa.BufferReader(data)).read(list(columns), use_threads=False).to_pylist()


def check_shard(path: Path, sha256: str) -> bytes:
    """The bytes of a shard, unopened. Raises ``ShardError`` as ``read_shard`` does."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ShardError(f"{path}: missing") from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ShardError(f"{path}: torn or changed (checksum differs)")
    return data


def have_latents(files: Iterable[Path]) -> bool:
    """Whether one of these Parquet files has the column; what is missing or torn is told by who reads it whole."""
    import pyarrow.parquet as pq

    for path in files:
        try:
            if "latent" in pq.read_schema(path).names:
                return True
        except (OSError, ValueError):
            continue
    return False


def _schema(latents: bool) -> Any:
    import pyarrow as pa

    kinds = {"seed": pa.int64(), "candidate": pa.int32(), "image": pa.binary(), "latent": pa.binary()}
    kinds |= dict.fromkeys(("reward", "advantage", "text_weight", "image_weight"), pa.float64())
    kinds["thumbnail"] = pa.binary()
    names = [n for n in (*Sample.__dataclass_fields__, "thumbnail") if latents or n != "latent"]
    return pa.schema([(name, kinds.get(name, pa.string())) for name in names])
