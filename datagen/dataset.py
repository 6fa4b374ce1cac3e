"""Samples to a weighted Hugging Face dataset and back.

Two splits: ``train`` (kept) and ``dropped`` (with ``drop_reason``), in parquet files of at most 500 MB, images
embedded as an ``Image`` feature, so that both ``datasets.load_dataset(folder)`` (streaming or not) and
``load_weighted`` open it. Written row group by row group, so memory does not grow with the dataset; built
apart and moved in place together, with a card, Croissant metadata and the checksum of every file. A model
with an autoencoder adds one column, what it drew before decoding; where none did, there is no such column.
"""

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datagen.checksums import CHECKSUMS, checksums, digest
from datagen.croissant import CROISSANT, croissant
from datagen.errors import InputError, ShardError
from datagen.sample import Sample
from datagen.shards import from_row, to_row

if TYPE_CHECKING:
    from datasets import Dataset, Features

SHARD_BYTES = 500_000_000
ROWS = 256  # of a row group, or fewer when they are large
GROUP_BYTES = 64_000_000
SPLITS = ("train", "dropped")
COLUMNS = {
    "id": "Hash of the content: the same candidate has the same id in every build.",
    "group_id": "The prompt's candidates share it.",
    "recipe": "The recipe that asked for it.",
    "weakness": "The skill that the recipe targets.",
    "prompt": "The text given to the model.",
    "target": "What must be true of the image, as JSON.",
    "trace": "The reasoning before the image.",
    "trace_source": "Who wrote the trace.",
    "image": "The picture that the model drew.",
    "transition": "Who opened the image: model, forced or none.",
    "scores": "Every judge's value and reason, as JSON.",
    "reward": "The image reward; null is unscored.",
    "advantage": "The reward less its group's mean.",
    "text_weight": "Weight of the trace's cross-entropy, >= 0.",
    "image_weight": "Weight of the image's flow loss, >= 0.",
    "seed": "Of everything drawn at random for this candidate.",
    "candidate": "Its number within the group.",
    "model": "The model that drew it.",
    "llm": "The language model that wrote the prompt.",
    "drop_reason": "Why it is not in train; empty where it is.",
}
LATENT = "latent"  # the bytes of ``datagen.models.latent``
TEXTS = ("string", "binary", "PIL.Image.Image")
MARGIN = 16_384  # of a file, for what is written of its schema
FOOTER = 256  # a column of a row group, at most


def features(latents: bool = False) -> "Features":
    """The typed columns of both splits."""
    from datasets import Features, Image, Value

    kinds = dict.fromkeys(("reward", "advantage", "text_weight", "image_weight"), Value("float64"))
    kinds |= {"seed": Value("int64"), "candidate": Value("int32"), "image": Image()}
    columns = {name: kinds.get(name, Value("string")) for name in COLUMNS}
    return Features(columns | ({LATENT: Value("binary")} if latents else {}))


class DatasetWriter:
    """Writes samples into a dataset folder as they come; ``finish`` puts the folder in its place.

    Raises ``ShardError`` when the disk is full; what stood in ``folder`` before then still stands.
    """

    def __init__(self, folder: Path, shard_bytes: int = SHARD_BYTES, latents: bool = False) -> None:
        """``latents``: with their column; all files of a dataset have it, or none."""
        self.folder, self.shard_bytes = folder, shard_bytes
        self.partial = folder.with_name(f".{folder.name}.partial")
        self.features = features(latents)
        self.waiting: dict[str, list[dict[str, Any]]] = {split: [] for split in SPLITS}
        self.bytes = dict.fromkeys(SPLITS, 0)
        self.files: dict[str, list[Path]] = {split: [] for split in SPLITS}
        self.groups = dict.fromkeys(SPLITS, 0)  # row groups in the file that is open
        self.open: dict[str, Any] = {}
        with self._disk():
            shutil.rmtree(self.partial, ignore_errors=True)
            (self.partial / "data").mkdir(parents=True)

    def add(self, samples: Iterable[Sample]) -> None:
        self.add_rows([to_row(s) for s in samples])

    def add_rows(self, rows: Iterable[dict[str, Any]]) -> None:
        """Rows as ``shards.to_row`` makes them of samples."""
        for row in rows:
            split = "dropped" if row["dropped"] else "train"
            self.waiting[split].append(to_columns(row))
            self.bytes[split] += sum(len(v) for v in row.values() if isinstance(v, bytes | str))
            if len(self.waiting[split]) >= ROWS or self.bytes[split] >= GROUP_BYTES:
                self._flush(split)

    def finish(self, card: str) -> None:
        """Name the files, write what describes them, and put the folder in its place."""
        import pyarrow.parquet as pq

        for split in SPLITS:
            self._flush(split)
            self._close(split)
        with self._disk():
            data = {}
            for split, files in self.files.items():
                for i, path in enumerate(files):
                    path = path.rename(path.with_name(f"{split}-{i:05d}-of-{len(files):05d}.parquet"))
                    size, rows = path.stat().st_size, pq.read_metadata(path).num_rows
                    data[f"data/{path.name}"] = {"sha256": digest(path), "rows": rows, "bytes": size}
            columns = {name: (self.features[name].dtype, about) for name, about in COLUMNS.items()}
            sums = {name: {"sha256": f["sha256"], "rows": f["rows"]} for name, f in data.items()}
            (self.partial / "README.md").write_text(card, encoding="utf-8")
            (self.partial / CROISSANT).write_text(croissant(card, columns, data), encoding="utf-8")
            sums[CROISSANT] = {"sha256": digest(self.partial / CROISSANT)}
            (self.partial / CHECKSUMS).write_text(checksums(sums), encoding="utf-8")
            replace_folder(self.partial, self.folder)

    def discard(self) -> None:
        """Leave no trace of what was added."""
        for split in SPLITS:
            if writer := self.open.pop(split, None):
                with suppress(OSError):  # a footer that does not fit, of a file that goes
                    writer.close()
        shutil.rmtree(self.partial, ignore_errors=True)

    def _flush(self, split: str) -> None:
        """One more row group, in another file where this one would grow too large."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        rows, self.waiting[split], self.bytes[split] = self.waiting[split], [], 0
        if not rows:
            return
        table = pa.Table.from_pylist(rows, schema=self.features.arrow_schema)
        if split in self.open:
            footer = MARGIN + FOOTER * len(self.features) * (self.groups[split] + 1)
            if self.files[split][-1].stat().st_size + table.nbytes + footer > self.shard_bytes:
                self._close(split)
        with self._disk():
            if split not in self.open:
                path = self.partial / "data" / f"{split}-{len(self.files[split]):05d}"
                self.files[split].append(path)
                self.groups[split] = 0
                numbers = [name for name, kind in self.features.items() if kind.dtype not in TEXTS]
                self.open[split] = pq.ParquetWriter(path, table.schema, write_statistics=numbers)
            self.open[split].write_table(table)
            self.groups[split] += 1

    def _close(self, split: str) -> None:
        with self._disk():
            if split in self.open:
                self.open[split].close()
                del self.open[split]

    @contextmanager
    def _disk(self) -> Iterator[None]:
        """What fails on a full disk: nothing half-written stays, and the error is one line."""
        try:
            yield
        except OSError as error:
            self.discard()
            why = str(error).splitlines()[0]
            raise ShardError(f"{self.folder}: cannot be written: {why}; free space and run again") from error


def replace_folder(new: Path, folder: Path) -> None:
    """``new`` becomes ``folder``; what stood there goes when it is replaced, and not before."""
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    try:
        new.rename(folder)
    except OSError:
        if old.exists():
            old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def to_columns(row: dict[str, Any]) -> dict[str, Any]:
    """One row of the dataset, of one of a shard."""
    image = None if row["image"] is None else {"bytes": row["image"], "path": None}
    plain = {c: row["dropped" if c == "drop_reason" else c] for c in COLUMNS}
    return plain | {"image": image, LATENT: row.get(LATENT)}


def from_columns(row: dict[str, Any]) -> Sample:
    """The sample of a dataset's row whose image is not decoded."""
    image = row["image"]
    plain = {k: v for k, v in row.items() if k in (*COLUMNS, LATENT) and k != "drop_reason"}
    return from_row(plain | {"image": image and image["bytes"], "dropped": row["drop_reason"] or ""})


def save_dataset(samples: Iterable[Sample], folder: Path, card: str, latents: bool = False) -> None:
    """Write ``folder/data/{train,dropped}-*.parquet``, their checksums, and the card as ``README.md``."""
    writer = DatasetWriter(folder, latents=latents)
    writer.add(samples)
    writer.finish(card)


def load_weighted(path: str | Path, split: str = "train", remote: bool = False) -> "Dataset":
    """One split of a dataset folder, or if ``remote`` may be of a dataset ``USER/NAME`` on the Hub.

    Images are decoded on access. Raises ``InputError`` naming what is missing.
    """
    from datasets import Dataset, disable_progress_bars, load_dataset

    disable_progress_bars()
    files = sorted(Path(path).glob(f"data/{split}-*.parquet"))
    remote = remote and not Path(path).exists() and str(path).count("/") == 1
    if not files and not remote:
        missing = "run datagen build first" if not Path(path).exists() else f"it has data/{split}-*.parquet"
        raise InputError(f"{path}: no dataset here with a {split} split; {missing}")
    try:
        if remote:
            rows = load_dataset(str(path), split=split)
        else:
            own = os.access(path, os.W_OK)  # else the user's cache: a shared disk may be read-only
            cache = str(Path(path) / ".cache") if own else None
            rows = Dataset.from_parquet([str(f) for f in files], cache_dir=cache)
    except Exception as error:  # datasets raises its own builder errors, pyarrow's beneath
        cause = error.__cause__ or error
        where = f"{path} on the Hub" if remote else files[0]
        raise InputError(f"{where}: not a readable dataset: {str(cause).splitlines()[0]}") from error
    needed = ("prompt", "trace", "image", "text_weight", "image_weight")
    if absent := [c for c in needed if c not in rows.column_names]:
        raise InputError(
            f"{path}: column {absent[0]!r} is missing; a weighted dataset has {', '.join(needed)}"
        )
    return rows
