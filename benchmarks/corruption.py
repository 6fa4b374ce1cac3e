"""Damage a finished run a thousand times and see whether it is told: ``python -m benchmarks.corruption``.

Each time one thing is done to one file of a finished run: a bit flipped, the file cut short, a byte
added, a line of the log lost, two files swapped, or the file of another run put in its place. Half of the
files are of the dataset, half are what it was made from. Detected means that the check names the file: of
the run the one that the next build makes before it trusts anything, of the dataset the one before it is
trained on, merged or published. Every fiftieth time that build is made too, and its dataset compared.

Last printed: 1,000 damages of a run of 5 shards and its dataset (167 bits, 167 cuts, 167 added bytes, 167 lost
lines, 166 swaps, 166 files of another run): every one told; 20 of 20 rebuilds byte-identical.
``tests/datagen/test_manifest.py`` does 48 of both.
"""

import argparse
import random
import shutil
import tempfile
from collections import Counter
from pathlib import Path

from benchmarks.faults import digests, recipe
from datagen.checksums import CHECKSUMS, verify
from datagen.errors import DatagenError
from datagen.manifest import read_manifest
from datagen.pipeline import build

KINDS = ("bit", "cut", "byte", "line", "swap", "other")
REBUILD = 50  # trials a rebuild


def harm(run: Path, other: Path, kind: str, rng: random.Random) -> list[Path]:
    """Do one damage to ``run``; the files that it was done to. ``other`` is a run of another seed."""
    shards, dataset = sorted((run / "shards").glob("*.parquet")), run / "dataset"
    if kind == "line":
        path = run / "shards.jsonl"
        lines = path.read_bytes().splitlines(keepends=True)
        lines.pop(rng.randrange(len(lines)))
        path.write_bytes(b"".join(lines))
        return [path]
    data = sorted((dataset / "data").iterdir())
    if kind == "swap":
        first, second = rng.sample(rng.choice([shards, [*data, dataset / "croissant.json"]]), 2)
        held = first.read_bytes()
        first.write_bytes(second.read_bytes())
        second.write_bytes(held)
        return [first, second]
    made_from = [*shards, run / "manifest.json", run / "shards.jsonl", run / "prompts.jsonl"]
    path = rng.choice(rng.choice([made_from, [*data, *sorted(dataset.glob("*.json"))]]))
    held = path.read_bytes()
    if kind == "other":
        path.write_bytes((other / path.relative_to(run)).read_bytes())
    elif kind == "cut":
        path.write_bytes(held[: rng.randrange(len(held))])
    else:
        at = rng.randrange(len(held))
        changed = held[at] ^ (1 << rng.randrange(8)) if kind == "bit" else rng.randrange(256)
        path.write_bytes(held[:at] + bytes([changed]) + held[at + (kind == "bit") :])
    return [path]


def told(run: Path, paths: list[Path], settings: dict) -> bool:
    """Whether a check names one of the files, or the shard that a lost line vouched for."""
    names = [path.name for path in paths]
    if "dataset" in paths[0].relative_to(run).parts:
        try:
            verify(run / "dataset")
        except DatagenError as error:
            # A list that is sound, and another dataset's, names what it does not vouch for.
            return names == [CHECKSUMS] or any(name in str(error) for name in names)
        return False
    try:
        manifest = read_manifest(run)
    except DatagenError as error:
        return names[0] in str(error)
    if manifest.settings != settings:
        return names == ["manifest.json"]  # sound, and another run's: the build says what changed
    found = manifest.check()
    return all(any(name in line for line in found) for name in names)


def trials(folder: Path, count: int, prompts: int, seed: int = 0) -> tuple[Counter[str], list[str], int]:
    """How many of each kind were done, which were not told, and how many rebuilds came out the same."""
    rng = random.Random(seed)
    good, other, run = folder / "good", folder / "other", folder / "run"
    build(good, [recipe(prompts)], "fake")
    build(other, [recipe(prompts)], "fake", seed=1)
    settings, before = read_manifest(good).settings, digests(good)
    done: Counter[str] = Counter()
    missed, same = [], 0
    for n in range(count):
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(good, run)
        kind = KINDS[n % len(KINDS)]
        paths = harm(run, other, kind, rng)
        where = [str(path.relative_to(run)) for path in paths]
        if all((run / name).read_bytes() == (good / name).read_bytes() for name in where):
            continue  # the byte that was added was its neighbour's twin at the very end, or the like
        done[kind] += 1
        if not told(run, paths, settings):
            missed.append(f"{kind} of {' and '.join(where)}")
        if n % REBUILD == 0:
            try:
                build(run, [recipe(prompts)], "fake")
            except DatagenError:  # refused: a damaged manifest is for the user to judge
                build(run, [recipe(prompts)], "fake", force=True)
            same += digests(run) == before
    return done, missed, same


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--prompts", type=int, default=40)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        done, missed, same = trials(Path(folder), args.count, args.prompts)
    print(f"damaged {sum(done.values())} times ({dict(done)}); not told: {len(missed)} {missed[:5]}")
    print(f"rebuilt byte-identical: {same} of {-(-args.count // REBUILD)}")


if __name__ == "__main__":
    main()
