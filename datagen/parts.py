"""The end of a build as jobs that run anywhere, in any order, and need not be done twice.

A part is some shards of one recipe. ``Scatter`` sorts what near-duplicates need of its candidates into
buckets, by target and again by each fingerprint; ``Compare`` decides about one bucket of all parts; ``Write``
weighs a part's candidates and writes them as a dataset of its own. Each leaves a file that checks itself, and
does nothing where that stands. A bucket is whole targets, whatever the number of workers, so that the outcome
is the same. Left out: what needs all buckets at once, which is ``finish``'s.
"""

import json
import os
import platform
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from datagen.account import Account
from datagen.checksums import verify
from datagen.dataset import DatasetWriter
from datagen.dedupe import DROPPED, ID, KEY, across, linked, mixed, reason
from datagen.errors import InputError, WorkError
from datagen.pieces import read_piece, stands, take, write_pieces
from datagen.portions import account_row
from datagen.recipe import parse_recipe
from datagen.sample import Sample, content_seed
from datagen.shards import from_row, have_latents, read_columns, target_key, write_atomic
from datagen.thumbnails import BANDS, SIZE, fingerprints
from datagen.weights import weigh

FIELDS = tuple(Sample.__dataclass_fields__)
COMPARED = ("id", "target", "reward", "dropped", "thumbnail")
WEIGHED = ("dropped", "advantage", "text_weight", "image_weight")
PRINT = np.dtype([("print", "u8"), ("target", "i8"), ("part", "i4"), ("at", "i4")])
SMALL = np.dtype(("u1", (SIZE,)))
ROWS = 32  # bits of a candidate's number within its part
SPREAD = np.uint64(0x9E3779B97F4A7C15)  # the golden ratio: fingerprints that are alike fall into all buckets
By = Literal["target", "print"]


@dataclass(frozen=True)
class Part:
    """Shards of one recipe, in order, and the number of the part among all."""

    number: int
    recipe: str
    shards: tuple[tuple[Path, str], ...]  # file, sha256


@dataclass(frozen=True)
class Bucket:
    """One of a recipe's buckets, which are as many as its parts."""

    recipe: str
    by: By
    number: int


@dataclass(frozen=True)
class Ends:
    """What every job needs: the folder of their files, recipes as plain values, and each one's parts.

    ``fits`` pictures are in memory at once. ``latents``: one of the parts has some, so all files have the column.
    """

    work: Path
    recipes: Mapping[str, dict[str, Any]]
    parts: Mapping[str, range]
    fits: int
    latents: bool = False

    def file(self, number: int, kind: str) -> Path:
        return self.work / f"{number:05d}.{kind}"

    def links(self, bucket: Bucket) -> Path:
        return self.work / f"{bucket.recipe}-{bucket.number:05d}.{bucket.by}"

    @property
    def dropped(self) -> Path:
        return self.work / "dropped"

    def dataset(self, number: int) -> Path:
        return self.work / f"{number:05d}"

    def account(self, number: int) -> Path:
        return self.file(number, "json")


class Scatter:
    """A part's candidates that may be kept: keys and thumbnails by target, fingerprints by their own value.

    Returns whether the part has latents.
    """

    def __init__(self, ends: Ends) -> None:
        self.ends = ends

    def __call__(self, part: Part) -> bool:
        files = [self.ends.file(part.number, kind) for kind in ("keys", "small", "prints")]
        if not all(stands(path) for path in files):
            self._scatter(part, *files)
        return have_latents(path for path, _ in part.shards)

    def _scatter(self, part: Part, *files: Path) -> None:
        keys, small = _compared(part)
        count = len(self.ends.parts[part.recipe])
        bucket = keys["target"] % count
        order = np.argsort(bucket, kind="stable")
        keys, small, bucket = keys[order], small[order], bucket[order]
        prints = np.empty((len(keys), BANDS), PRINT)
        prints["print"] = fingerprints(small)
        prints["target"], prints["part"] = keys["target"][:, None], part.number
        prints["at"] = np.arange(len(keys))[:, None]
        prints = prints[prints["print"] != 0]
        by_print = (prints["print"] * SPREAD >> np.uint64(32)) % np.uint64(count)
        sorted_by = (keys, bucket), (small, bucket), (prints, by_print.astype(np.int64))
        for path, (records, piece) in zip(files, sorted_by, strict=True):
            write_pieces(path, records, piece, count)


class Compare:
    """The links that are found in one bucket of all parts of its recipe."""

    def __init__(self, ends: Ends) -> None:
        self.ends = ends

    def __call__(self, bucket: Bucket) -> None:
        path = self.ends.links(bucket)
        if not stands(path):
            links = self._within(bucket) if bucket.by == "target" else self._across(bucket)
            write_pieces(path, links, np.zeros(len(links), np.int64), 1)

    def _within(self, bucket: Bucket) -> np.ndarray:
        threshold = parse_recipe(self.ends.recipes[bucket.recipe], bucket.recipe).dedupe.images
        numbers = self.ends.parts[bucket.recipe]
        pieces = [read_piece(self.ends.file(n, "keys"), KEY, bucket.number) for n in numbers]
        keys = np.concatenate([records for _, records in pieces])
        part = np.repeat(np.array(numbers), [len(records) for _, records in pieces])
        at = np.concatenate([start + np.arange(len(records)) for start, records in pieces])
        load = lambda some: self._taken("small", SMALL, part[some], at[some])  # noqa: E731
        return linked(keys, keys["target"], load, threshold, self.ends.fits)

    def _across(self, bucket: Bucket) -> np.ndarray:
        numbers = self.ends.parts[bucket.recipe]
        prints = np.concatenate(
            [read_piece(self.ends.file(n, "prints"), PRINT, bucket.number)[1] for n in numbers]
        )
        shared, labels = mixed(prints["print"], prints["target"])
        part, at = prints["part"][shared], prints["at"][shared]
        load = lambda some: self._taken("small", SMALL, part[some], at[some])  # noqa: E731
        return across(self._taken("keys", KEY, part, at), labels, load, self.ends.fits)

    def _taken(self, name: str, kind: np.dtype, part: np.ndarray, at: np.ndarray) -> np.ndarray:
        """Records [n] of the parts' files."""
        out = np.empty(len(part), kind)
        for number in np.unique(part).tolist():
            here = part == number
            out[here] = take(self.ends.file(number, name), kind, at[here])
        return out


class Write:
    """A part's candidates, weighed and written; what was counted of them lies beside."""

    def __init__(self, ends: Ends) -> None:
        self.ends = ends
        self.recipes = {name: parse_recipe(row, name) for name, row in ends.recipes.items()}

    def __call__(self, part: Part) -> None:
        folder = self.ends.dataset(part.number)
        if _is_whole(folder):
            return
        recipe = self.recipes[part.recipe]
        _, dropped = read_piece(self.ends.dropped, DROPPED, part.number)
        keepers = dict(zip((dropped["row"] & (1 << ROWS) - 1).tolist(), dropped["keeper"].tolist()))
        account = Account([recipe])
        own = folder.with_name(f".{folder.name}.{platform.node()}.{os.getpid()}")
        writer = DatasetWriter(
            own
        )  # apart: a worker of a driver that was just killed may still write its own
        row = 0
        for path, sha256 in part.shards:
            rows = read_columns(path, sha256, FIELDS)
            samples = [from_row(r) for r in rows]
            for i in range(len(samples)):
                if keeper := keepers.get(row + i):
                    samples[i] = replace(samples[i], dropped=reason(keeper))
            row += len(rows)
            weighed = weigh(samples, recipe)
            account.add(weighed)
            # Weighing adds numbers and a drop's reason: the rest is written as it was read.
            writer.add_rows(
                [r | {n: getattr(s, n) for n in WEIGHED} for r, s in zip(rows, weighed, strict=True)]
            )
        write_atomic(self.ends.account(part.number), json.dumps(account_row(account)).encode())
        writer.finish("")
        shutil.rmtree(folder, ignore_errors=True)
        own.replace(folder)


def _compared(part: Part) -> tuple[np.ndarray, np.ndarray]:
    """KEY [n] and thumbnails [n, 768] of the candidates that are compared."""
    found: list[tuple[int, int, float, str]] = []
    small: list[bytes] = []
    row = part.number << ROWS
    for path, sha256 in part.shards:
        for r in read_columns(path, sha256, COMPARED):
            if not r["dropped"] and r["thumbnail"] is not None:
                found.append((row, _target(r["target"]), r["reward"] or 0.0, r["id"][:ID]))
                small.append(r["thumbnail"])
            row += 1
    return np.array(found, KEY), np.frombuffer(b"".join(small), SMALL)


@lru_cache(4096)
def _target(text: str) -> int:
    return content_seed(target_key(text))


def _is_whole(folder: Path) -> bool:
    try:
        return bool(verify(folder))
    except (InputError, WorkError):
        return False  # not begun, or torn: written again
