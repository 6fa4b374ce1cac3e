"""From finished shards to the dataset: near-duplicates, weights, files. In parts, resumable, no sample kept.

The work is ``parts``' jobs, in this process or in workers, in three steps that each need all of the one before.
Between them this process sees what they found and not the candidates: links between near-duplicates, counts,
names of files. All of it lies in a folder of these shards and settings, so that a build that is killed here
goes on where it was, and is gone when the dataset stands. Nothing depends on the number of workers.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from datagen.account import Account
from datagen.dataset import SPLITS, DatasetWriter
from datagen.dedupe import LINK, resolved
from datagen.neighbours import FITS
from datagen.parts import ROWS, Bucket, Compare, Ends, Part, Scatter, Write
from datagen.pieces import read_piece, write_pieces
from datagen.portions import add_row
from datagen.recipe import Recipe
from datagen.workers import Stage, ray_session, run_stages

Shards = Mapping[str, Sequence[tuple[Path, str]]]  # recipe -> (file, sha256) in order
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Sizes:
    """A part is at most ``shards`` files and ``bytes`` of them, more than ``alone`` parts go to workers, and
    ``fits`` pictures are in memory at once."""

    shards: int = 256
    bytes: int = 400_000_000
    alone: int = 4
    fits: int = FITS


def finish(
    shards: Shards,
    recipes: Sequence[Recipe],
    folder: Path,
    card: Callable[[Account], str],
    workers: int = 0,
    address: str | None = None,
    progress: Progress = lambda stage, done, total: None,
    sizes: Sizes = Sizes(),
) -> Account:
    """Write the dataset of all shards; returns what it holds.

    Nothing is written when no candidate is left. Raises ``ShardError`` for a shard that changed.
    """
    parts = [
        Part(number, recipe, some)
        for number, (recipe, some) in enumerate(
            (recipe.name, some) for recipe in recipes for some in _cut(shards[recipe.name], sizes)
        )
    ]
    ends = _begin(folder.parent / "finish", parts, recipes, sizes)
    buckets = [
        Bucket(recipe, by, number)
        for recipe, numbers in ends.parts.items()
        for by in ("target", "print")
        for number in range(len(numbers))
    ]
    if len(parts) <= sizes.alone:
        workers = 0
    with ray_session(workers, address) if workers else nullcontext():
        run = partial(_run, workers, address)
        total = len(parts) + len(buckets)
        have = run(partial(Scatter, ends), parts, lambda done: progress("dedupe", done, total))
        run(partial(Compare, ends), buckets, lambda done: progress("dedupe", len(parts) + done, total))
        found = {by: [_links(ends, b) for b in buckets if b.by == by] for by in ("target", "print")}
        dropped = resolved(*(np.concatenate([np.empty(0, LINK), *links]) for links in found.values()))
        write_pieces(ends.dropped, dropped, dropped["row"] >> ROWS, len(parts))
        ends = replace(ends, latents=any(have))
        run(partial(Write, ends), parts, lambda done: progress("dataset", done, len(parts)))
    account = Account(recipes)
    for part in parts:
        add_row(account, json.loads(ends.account(part.number).read_text()))
    if account.kept:
        _assemble(ends, len(parts), folder, card(account))
    shutil.rmtree(ends.work.parent)
    return account


def _cut(shards: Sequence[tuple[Path, str]], sizes: Sizes) -> Iterator[tuple[tuple[Path, str], ...]]:
    """Shards that follow each other, as many as a part holds."""
    some: list[tuple[Path, str]] = []
    size = 0
    for path, sha256 in shards:
        more = path.stat().st_size if path.exists() else 0  # the worker that reads it says that it is missing
        if some and (len(some) == sizes.shards or size + more > sizes.bytes):
            yield tuple(some)
            some, size = [], 0
        some.append((path, sha256))
        size += more
    if some:
        yield tuple(some)


def _begin(root: Path, parts: Sequence[Part], recipes: Sequence[Recipe], sizes: Sizes) -> Ends:
    """A folder for this work, with what is already done of it; other work's is removed."""
    settings = {r.name: r.model_dump(mode="json") for r in recipes}
    inputs: list[Any] = [
        settings,
        sizes.fits,
        [[p.recipe, [(f.name, s) for f, s in p.shards]] for p in parts],
    ]
    name = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:16]
    for other in root.glob("*"):
        if other.name != name:
            shutil.rmtree(other)
    (root / name).mkdir(parents=True, exist_ok=True)
    numbers = {r.name: [part.number for part in parts if part.recipe == r.name] for r in recipes}
    return Ends(
        root / name, settings, {r: range(n[0], n[-1] + 1) for r, n in numbers.items() if n}, sizes.fits
    )


def _run(
    workers: int,
    address: str | None,
    make: Callable[[], Callable[[Any], Any]],
    items: Sequence[Any],
    tell: Callable[[int], None],
) -> list[Any]:
    """What the jobs return, in no order."""
    found = []
    for _, result in run_stages([Stage("end", make, workers, gpus=0.0)], items, address):
        found.append(result)
        tell(len(found))
    return found


def _links(ends: Ends, bucket: Bucket) -> np.ndarray:
    return read_piece(ends.links(bucket), LINK, 0)[1]


def _assemble(ends: Ends, parts: int, folder: Path, card: str) -> None:
    """The parts' files as one dataset. A kill in between costs the parts whose files were moved."""
    writer = DatasetWriter(folder)
    for split in SPLITS:
        for number in range(parts):
            for path in sorted(ends.dataset(number).glob(f"data/{split}-*.parquet")):
                place = writer.partial / "data" / f"{split}-{len(writer.files[split]):05d}"
                writer.files[split].append(path.rename(place))
    writer.finish(card)
