"""Near-duplicate pictures after scoring, to keep the best: the highest reward of a cluster stays.

Within one target pictures are compared by embedding (``thumbnails``). Across targets only near-exact copies
are: a scene with two circles and one with three are near in any embedding, and both are wanted. Copies are
found by equal ``fingerprints``, and compared before one is dropped.

Both halves work on any set of whole targets, or of whole fingerprints, so that ``parts`` can spread them over
machines; what each finds are links from a candidate to its keeper, and ``resolved`` has the last word.
``Pictures`` is all of it in one process. Left out: a chain across targets (a like b, b like c) may leave one
copy too many, never one too few. ``benchmarks.dedupe`` has time, memory and recall.
"""

import tempfile
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np

from datagen.errors import ShardError
from datagen.neighbours import FITS, near_duplicates, near_duplicates_in_blocks
from datagen.sample import Sample, content_seed
from datagen.thumbnails import BANDS, CHUNK, SIZE, fingerprints, thumbnail, vectors

ID = 16  # characters of a sample's id
NEAR_EXACT = 0.9995  # of two targets: a picture encoded again, not one that is drawn again
KEY = np.dtype([("row", "i8"), ("target", "i8"), ("reward", "f8"), ("id", f"S{ID}")])
LINK = np.dtype([("gone", KEY), ("keeper", KEY)])
DROPPED = np.dtype([("row", "i8"), ("keeper", f"S{ID}")])
Load = Callable[[np.ndarray], np.ndarray]  # numbers of keys -> their thumbnails [n, 768] uint8


def linked(
    keys: np.ndarray, labels: np.ndarray, load: Load, threshold: float, fits: int = FITS
) -> np.ndarray:
    """A LINK for each of ``keys`` [n] KEY that is a near-duplicate of a better one with the same label [n]."""
    order = np.lexsort((*_rank(keys), labels))
    bounds = np.flatnonzero(np.diff(labels[order])) + 1
    starts, ends = np.r_[0, bounds], np.r_[bounds, len(order)]
    size = ends - starts
    gone, keepers = _pairs(order[starts[size == 2]], order[ends[size == 2] - 1], load, threshold, fits)
    for groups in _batches(list(zip(starts[size > 2].tolist(), ends[size > 2].tolist())), fits):
        members = np.concatenate([order[start:end] for start, end in groups])
        if len(members) > fits:
            found = near_duplicates_in_blocks(_vectors_of(load, members), len(members), threshold, fits)
        else:
            unit, found, at = vectors(load(members)), {}, 0
            for start, end in groups:
                found |= near_duplicates(unit, np.arange(at, at := at + end - start), threshold)
        gone += members[list(found)].tolist()
        keepers += members[list(found.values())].tolist()
    links = np.empty(len(gone), LINK)
    links["gone"], links["keeper"] = keys[gone], keys[keepers]
    return links


def mixed(prints: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where a fingerprint [n] is shared by more than one target [n]: the numbers, and a label for each."""
    order = np.lexsort((targets, prints))
    sorted_prints, sorted_targets = prints[order], targets[order]
    first = np.r_[True, np.diff(sorted_prints) != 0][: len(order)]
    starts = np.flatnonzero(first)
    ends = np.r_[starts[1:], len(order)][: len(starts)]
    shared = (sorted_targets[starts] != sorted_targets[ends - 1]) & (sorted_prints[starts] != 0)
    label = np.cumsum(first) - 1
    return order[shared[label]], label[shared[label]]


def across(keys: np.ndarray, labels: np.ndarray, load: Load, fits: int = FITS) -> np.ndarray:
    """The LINKs between near-exact copies of different targets that have a label in common."""
    links = linked(keys, labels, load, NEAR_EXACT, fits)
    return links[links["gone"]["target"] != links["keeper"]["target"]]


def resolved(within: np.ndarray, copies: np.ndarray) -> np.ndarray:
    """DROPPED by row, of LINKs within targets and across: nobody is dropped for one who is dropped."""
    lost = within["gone"]["row"]
    copies = copies[~np.isin(copies["gone"]["row"], lost) & ~np.isin(copies["keeper"]["row"], lost)]
    ranks = (*_rank(copies["keeper"]), *_rank(copies["gone"]))
    copies = copies[np.lexsort(ranks)]  # the better ones first: a keeper is settled before it is asked for
    gone: set[int] = set()
    taken = []
    for i, (row, keeper) in enumerate(zip(copies["gone"]["row"].tolist(), copies["keeper"]["row"].tolist())):
        if row not in gone and keeper not in gone:
            gone.add(row)
            taken.append(i)
    links = np.concatenate([within, copies[taken]])
    out = np.empty(len(links), DROPPED)
    out["row"], out["keeper"] = links["gone"]["row"], links["keeper"]["id"]
    return np.sort(out, order="row")


def reason(keeper: bytes) -> str:
    """Why a candidate is dropped, for DROPPED's ``keeper``."""
    return f"near_duplicate of {keeper.decode()}"


class Pictures:
    """Candidates one after the other, and then those of them that are near-duplicates.

    A candidate's thumbnail is in a scratch file in ``folder``, which is gone with the context; in memory are
    40 bytes of it, and 48 more while copies are looked for. Raises ``ShardError`` when the disk is full.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file: IO[bytes] = tempfile.TemporaryFile(dir=folder, prefix=".pictures-")  # noqa: SIM115  # __exit__ closes it
        self.added = 0
        self.rows, self.targets, self.rewards, self.ids = array("q"), array("q"), array("d"), array("B")

    def __enter__(self) -> "Pictures":
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def add(self, name: str, key: str, reward: float | None, small: bytes | None) -> None:
        """The next candidate: its id, its target's key, its thumbnail or None where it is not compared."""
        self.added += 1
        if small is None:
            return
        try:
            self.file.write(small)
        except OSError as error:
            raise ShardError(
                f"{self.folder}: cannot be written: {error.strerror}; free space and run again"
            ) from error
        self.rows.append(self.added - 1)
        self.targets.append(content_seed(key))
        self.rewards.append(reward or 0.0)
        self.ids.frombytes(name.encode()[:ID].ljust(ID, b"\0"))

    def dropped(self, threshold: float) -> dict[int, str]:
        """The reason for each candidate that is a near-duplicate, by the order in which it was added."""
        if not self.rows:
            return {}
        self.file.flush()
        pictures = np.memmap(self.file, np.uint8, "r", shape=(len(self.rows), SIZE))
        keys = np.empty(len(self.rows), KEY)
        keys["row"], keys["target"], keys["reward"] = self.rows, self.targets, self.rewards
        keys["id"] = np.frombuffer(self.ids, f"S{ID}")
        within = linked(keys, keys["target"], pictures.__getitem__, threshold)
        prints = np.concatenate(
            [fingerprints(pictures[start : start + CHUNK]) for start in range(0, len(keys), CHUNK)]
        )
        copies = []
        for band in range(BANDS):
            at, labels = mixed(prints[:, band], keys["target"])
            copies.append(across(keys[at], labels, partial(_at, pictures, at)))
        return {row: reason(keeper) for row, keeper in resolved(within, np.concatenate(copies)).tolist()}


def add_sample(pictures: Pictures, sample: Sample) -> None:
    """A sample whose thumbnail is not made yet."""
    small = thumbnail(sample.image) if sample.image is not None and not sample.dropped else None
    pictures.add(sample.id, sample.target.key, sample.reward, small)


def dedupe_images(samples: Sequence[Sample], threshold: float) -> list[Sample]:
    """Mark near-duplicate pictures as dropped, as ``Pictures`` finds them. Keeps order."""
    with Pictures(Path(tempfile.gettempdir())) as pictures:
        for sample in samples:
            add_sample(pictures, sample)
        dropped = pictures.dropped(threshold)
    return [replace(s, dropped=dropped.get(i, s.dropped)) for i, s in enumerate(samples)]


def _rank(keys: np.ndarray) -> tuple[np.ndarray, ...]:
    """Who is kept before whom, for ``np.lexsort``: by reward, then by id."""
    return keys["row"], keys["id"], -keys["reward"]


def _pairs(
    first: np.ndarray, second: np.ndarray, load: Load, threshold: float, fits: int
) -> tuple[list[int], list[int]]:
    """Labels that two share, all at once: most fingerprints in common are chance. Who is gone, and for whom."""
    near = np.zeros(len(first), bool)
    step = max(fits // 2, 1)
    for start in range(0, len(first), step):
        some = slice(start, start + step)
        one, other = (vectors(load(rows[some])) for rows in (first, second))
        near[some] = np.einsum("ij,ij->i", one, other) > threshold
    return second[near].tolist(), first[near].tolist()


def _batches(groups: Sequence[tuple[int, int]], fits: int) -> Iterator[list[tuple[int, int]]]:
    """Groups (start, end) as many at once as fit; one that does not comes alone."""
    batch: list[tuple[int, int]] = []
    size = 0
    for start, end in groups:
        if batch and size + end - start > fits:
            yield batch
            batch, size = [], 0
        batch.append((start, end))
        size += end - start
    if batch:
        yield batch


def _at(pictures: np.ndarray, at: np.ndarray, some: np.ndarray) -> np.ndarray:
    return pictures[at[some]]


def _vectors_of(load: Load, members: np.ndarray) -> Load:
    return lambda some: vectors(load(members[some]))
