"""Merge datasets into one, with near-duplicates dropped across them. Streams like ``finish``.

Weights are kept as they are: they are normalised within one prompt's candidates, and those stay together,
so a merge changes none; what it drops weighs 0. Two builds may have the same prompt of the same recipe,
whose groups have the same id but were drawn by another model or seed: the later one gets an id of its own.
The same candidates twice are dropped as copies. The card carries over what the sources' cards record of
their builds; a source is known by its content, not by where it lay. Left out: merging runs that are not
finished.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from datagen.account import Account
from datagen.card import render
from datagen.checksums import CHECKSUMS, digest, verify
from datagen.dataset import COLUMNS, DatasetWriter, from_columns
from datagen.dedupe import Pictures, add_sample
from datagen.errors import InputError
from datagen.provenance import Record, builds, merged_record, read_record
from datagen.recipe import Recipe, parse_recipe
from datagen.sample import Sample, content_id
from datagen.shards import have_latents

THRESHOLD = 0.995  # the recipes' own, for pictures


def merge(folders: Sequence[Path], out: Path, threshold: float = THRESHOLD) -> dict[str, dict]:
    """Write ``out`` from the dataset folders; returns its ``Account.table``.

    Raises ``InputError`` for fewer than two, for ``out`` that exists or columns that differ, ``WorkError`` for a
    folder that fails its checksums.
    """
    if len(folders) < 2:
        raise InputError("merge needs two datasets or more")
    if out.exists():
        raise InputError(f"{out} exists; choose another --out")
    for folder in folders:
        verify(folder)
    try:
        out.absolute().parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out.parent}: cannot be made: {error.strerror}; choose another --out") from error
    with Pictures(out.absolute().parent) as pictures:
        for _, sample in _renamed(folders):
            add_sample(pictures, sample)
        copies = pictures.dropped(threshold)
    records = [read_record(folder) for folder in folders]
    recipes = [_recipes(record) for record in records]
    latents = have_latents(path for folder in folders for path in folder.glob("data/*.parquet"))
    account, writer = Account(), DatasetWriter(out, latents=latents)
    for row, (number, sample) in enumerate(_renamed(folders)):
        if row in copies:
            sample = replace(sample, dropped=copies[row], text_weight=0.0, image_weight=0.0)
        account.recipes = recipes[number]  # by which it passed, where it was built
        account.add([sample], whole=False)
        writer.add([sample])
    for record in records:
        account.add_text_rewards(record.get("counts", {}))
    merged = {f"source {i}": digest(folder / CHECKSUMS) for i, folder in enumerate(folders, 1)}
    settings = {"merged": merged, "threshold": threshold}
    writer.finish(render(account, merged_record(account, settings, records)))
    return account.table()


def _recipes(record: Record) -> dict[str, Recipe]:
    """Of all builds of one source; of a name that two of them give, the last."""
    return {
        name: parse_recipe(row, name)
        for build in builds(record)
        for name, row in build.get("settings", {}).get("recipes", {}).items()
    }


def _renamed(folders: Sequence[Path]) -> Iterator[tuple[int, Sample]]:
    """Every sample and its folder's number; a group id that an earlier folder has used is made new."""
    owners: dict[str, int] = {}
    for number, folder in enumerate(folders):
        again: dict[str, str] = {}  # of this folder: the id that a group comes with -> the one it gets
        for sample in _read(folder):
            group = again.get(sample.group_id, sample.group_id)
            while owners.setdefault(group, number) != number:  # a merged source has ids of its own making
                group = content_id(group, sample.model, number)
            again[sample.group_id] = group
            if group != sample.group_id:
                sample = replace(sample, group_id=group, id=content_id(group, sample.candidate))
            yield number, sample


def _read(folder: Path) -> Iterator[Sample]:
    import pyarrow.parquet as pq

    for path in sorted(folder.glob("data/train-*.parquet")) + sorted(folder.glob("data/dropped-*.parquet")):
        file = pq.ParquetFile(path)
        if missing := [c for c in COLUMNS if c not in file.schema_arrow.names]:
            raise InputError(f"{path}: column {missing[0]!r} is missing; a dataset has {', '.join(COLUMNS)}")
        for batch in file.iter_batches(batch_size=64):
            for row in batch.to_pylist():
                yield from_columns(row)
