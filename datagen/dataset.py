"""Samples to a weighted Hugging Face dataset and back.

Two splits: ``train`` (kept) and ``dropped`` (with ``drop_reason``), in parquet files of at most about
500 MB, images embedded as an ``Image`` feature, so that both ``datasets.load_dataset(folder)`` (streaming
or not) and ``load_weighted`` open it. Written row group by row group, so memory does not grow with the
dataset; built apart and moved in place together, with the checksum of every file beside them.
"""

import hashlib
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datagen.errors import InputError, ShardError, WorkError
from datagen.sample import Sample
from datagen.shards import from_row, to_row

if TYPE_CHECKING:
    from datasets import Dataset, Features

SHARD_BYTES = 500_000_000
ROWS = 256  # of a row group, or fewer when they are large
GROUP_BYTES = 64_000_000
CHECKSUMS = "checksums.json"
COLUMNS = (
    "id", "group_id", "recipe", "weakness", "prompt", "target", "trace", "trace_source", "image", "transition",
    "scores", "reward", "advantage", "text_weight", "image_weight", "seed", "candidate", "model", "llm",
    "drop_reason",
)  # fmt: skip


def features() -> "Features":
    """The typed columns of both splits."""
    from datasets import Features, Image, Value

    kinds = dict.fromkeys(("reward", "advantage", "text_weight", "image_weight"), Value("float64"))
    kinds |= {"seed": Value("int64"), "candidate": Value("int32"), "image": Image()}
    return Features({name: kinds.get(name, Value("string")) for name in COLUMNS})


class DatasetWriter:
    """Writes samples into a dataset folder as they come; ``finish`` puts the folder in its place.

    Raises ``ShardError`` when the disk is full; what stood in ``folder`` before then still stands.
    """

    def __init__(self, folder: Path, shard_bytes: int = SHARD_BYTES) -> None:
        self.folder, self.shard_bytes = folder, shard_bytes
        self.partial = folder.with_name(f".{folder.name}.partial")
        shutil.rmtree(self.partial, ignore_errors=True)
        (self.partial / "data").mkdir(parents=True)
        self.schema = features().arrow_schema
        self.waiting: dict[str, list[dict[str, Any]]] = {"train": [], "dropped": []}
        self.bytes = {"train": 0, "dropped": 0}
        self.files: dict[str, list[Path]] = {"train": [], "dropped": []}
        self.open: dict[str, Any] = {}

    def add(self, samples: Iterable[Sample]) -> None:
        self.add_rows([to_row(s) for s in samples])

    def add_rows(self, rows: Iterable[dict[str, Any]]) -> None:
        """Rows as ``shards.to_row`` makes them of samples."""
        for row in rows:
            split = "dropped" if row["dropped"] else "train"
            self.waiting[split].append(to_columns(row))
            self.bytes[split] += len(row["image"] or b"")
            if len(self.waiting[split]) >= ROWS or self.bytes[split] >= GROUP_BYTES:
                self._flush(split)

    def finish(self, card: str) -> None:
        import pyarrow.parquet as pq

        for split in self.waiting:
            self._flush(split)
            if writer := self.open.pop(split, None):
                writer.close()
        sums = {}
        for split, files in self.files.items():
            for i, path in enumerate(files):
                name = f"{split}-{i:05d}-of-{len(files):05d}.parquet"
                path = path.rename(path.with_name(name))
                sums[f"data/{name}"] = {"sha256": digest(path), "rows": pq.read_metadata(path).num_rows}
        (self.partial / "README.md").write_text(card, encoding="utf-8")
        (self.partial / CHECKSUMS).write_text(json.dumps(sums, indent=1, sort_keys=True) + "\n")
        shutil.rmtree(self.folder, ignore_errors=True)
        self.partial.replace(self.folder)

    def discard(self) -> None:
        """Leave no trace of what was added."""
        for writer in self.open.values():
            writer.close()
        shutil.rmtree(self.partial, ignore_errors=True)

    def _flush(self, split: str) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        rows, self.waiting[split], self.bytes[split] = self.waiting[split], [], 0
        if not rows:
            return
        try:
            if split not in self.open:
                path = self.partial / "data" / f"{split}-{len(self.files[split]):05d}"
                self.files[split].append(path)
                self.open[split] = pq.ParquetWriter(path, self.schema)
            self.open[split].write_table(pa.Table.from_pylist(rows, schema=self.schema))
            if self.files[split][-1].stat().st_size >= self.shard_bytes - GROUP_BYTES:
                self.open.pop(split).close()
        except OSError as error:
            raise ShardError(
                f"{self.partial}: cannot be written: {error}; free space and run again"
            ) from error


def to_columns(row: dict[str, Any]) -> dict[str, Any]:
    """One row of the dataset, of one of a shard."""
    image = None if row["image"] is None else {"bytes": row["image"], "path": None}
    return {c: row["dropped" if c == "drop_reason" else c] for c in COLUMNS} | {"image": image}


def from_columns(row: dict[str, Any]) -> Sample:
    """The sample of a dataset's row whose image is not decoded."""
    image = row["image"]
    plain = {k: v for k, v in row.items() if k in COLUMNS and k != "drop_reason"}
    return from_row(plain | {"image": image and image["bytes"], "dropped": row["drop_reason"] or ""})


def save_dataset(samples: Iterable[Sample], folder: Path, card: str) -> None:
    """Write ``folder/data/{train,dropped}-*.parquet``, their checksums, and the card as ``README.md``."""
    writer = DatasetWriter(folder)
    writer.add(samples)
    writer.finish(card)


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verify(folder: Path) -> dict[str, int]:
    """Rows by file of a dataset folder whose every byte is as it was written.

    Raises ``InputError`` when there is no dataset, ``WorkError`` naming a file that is missing, changed or
    was not there.
    """
    if not (folder / "README.md").is_file() or not list(folder.glob("data/*.parquet")):
        raise InputError(f"{folder}: no dataset here; run datagen build first")
    try:
        sums = json.loads((folder / CHECKSUMS).read_text())
        known = {name: (entry["sha256"], entry["rows"]) for name, entry in sums.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise WorkError(f"{folder / CHECKSUMS}: missing or torn, so nothing vouches for the data") from error
    for path in sorted(folder.glob("data/*")):
        if f"data/{path.name}" not in known:
            raise WorkError(f"{path}: was not written by the build; remove it")
    for name, (sha256, _) in known.items():
        if not (folder / name).is_file() or digest(folder / name) != sha256:
            raise WorkError(f"{folder / name}: missing, torn or changed; run datagen build again")
    return {name: rows for name, (_, rows) in known.items()}


def load_weighted(path: str | Path, split: str = "train") -> "Dataset":
    """One split of a dataset folder, or of a dataset ``USER/NAME`` on the Hub; images decoded on access.

    Raises ``InputError`` naming what is missing.
    """
    from datasets import Dataset, disable_progress_bars, load_dataset

    disable_progress_bars()
    files = sorted(Path(path).glob(f"data/{split}-*.parquet"))
    remote = not Path(path).exists() and str(path).count("/") == 1
    if not files and not remote:
        raise InputError(f"{path}: no {split} split; a dataset folder has data/{split}-*.parquet")
    try:
        if remote:
            rows = load_dataset(str(path), split=split)
        else:
            rows = Dataset.from_parquet([str(f) for f in files], cache_dir=str(Path(path) / ".cache"))
    except Exception as error:  # datasets raises its own builder errors, pyarrow's beneath
        cause = error.__cause__ or error
        where = f"{path} on the Hub" if remote else files[0]
        raise InputError(f"{where}: not a readable dataset: {str(cause).splitlines()[0]}") from error
    needed = ("prompt", "trace", "image", "text_weight", "image_weight")
    if missing := [c for c in needed if c not in rows.column_names]:
        raise InputError(
            f"{path}: column {missing[0]!r} is missing; a weighted dataset has {', '.join(needed)}"
        )
    return rows
