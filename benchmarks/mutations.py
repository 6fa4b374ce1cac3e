"""No results file, however damaged, gives a traceback or a silent wrong answer: ``python -m benchmarks.mutations``.

Every format's file is cut, its bytes changed, its lines repeated, swapped, dropped, and files of two
formats are joined. Each mutant must be refused in one line that names the file, or read; what a cut
file still gives must be the beginning of what the whole one gives, and a file whose rows are there
twice, or that is joined with another, must be refused. Prints the counts, exits 1 at the first failure.
"""

import argparse
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

from datagen.errors import DatagenError
from datagen.evals import EvalRow, read_results
from datagen.weaknesses import find_weaknesses
from tests.datagen.evals.shapes import SHAPES

SKIPS_PROSE = {"geneval-summary"}  # reads a pasted log, so lines around the scores are not its own
PREFIX_FREE = {"lm-eval", "dpg"}  # totals: what a cut file gives is checked by its scores alone
ROWS_MAY_REPEAT = {"dpg-detail", "t2i-compbench-folder"}
NOISE = [b"NaN", b"null", b"-1", b"1e400", b"[", b"}", b'"', b",", b"\n", b"\x00", b"\xff\xfe", b"\xed\xa0\x80", b"{}",
         b"true", b"999", b"\\u0000", b"\r", b"\t", b"", b"[" * 3000]  # fmt: skip


def mutate(rng: random.Random, data: bytes, other: bytes) -> tuple[str, bytes]:
    """A way of damage and the damaged file."""
    way = rng.choice(
        ("cut", "bytes", "noise", "line twice", "line gone", "lines swapped", "twice", "joined", "inside")
    )
    lines = data.splitlines(keepends=True)
    at = rng.randrange(len(data))
    if way == "cut":
        return way, data[:at]
    if way == "bytes":
        changed = bytearray(data)
        for _ in range(rng.randint(1, 5)):
            changed[rng.randrange(len(data))] = rng.randrange(256)
        return way, bytes(changed)
    if way == "noise":
        return way, data[:at] + rng.choice(NOISE) + data[at + rng.randint(0, 4) :]
    if way == "line twice":
        line = rng.randrange(len(lines))
        return way, b"".join([*lines[: line + 1], *lines[line:]])
    if way == "line gone":
        line = rng.randrange(len(lines))
        return way, b"".join([*lines[:line], *lines[line + 1 :]])
    if way == "lines swapped":
        rng.shuffle(lines)
        return way, b"".join(lines)
    if way == "twice":
        return way, data + data
    if way == "joined":
        return way, data + other
    return way, data[:at] + other + data[at:]


def one_file(path: Path) -> Path:
    """The file that is damaged: of a folder, one inside it."""
    return path if path.is_file() else sorted(p for p in path.rglob("*.json"))[-1]


def judge(name: str, way: str, rows: list[EvalRow] | None, whole: list[EvalRow]) -> str | None:
    """What is wrong with the outcome, or None. ``rows`` None: refused."""
    if rows is None:
        return None
    if any(r.score is not None and not 0 <= r.score <= 1 for r in rows):
        return "a score outside [0, 1]"
    if way in ("joined", "twice") and name not in SKIPS_PROSE:
        return "two files in one were read"
    if way == "cut" and not name.endswith("folder"):
        said = [(r.prompt_id, r.image, r.score) for r in whole]
        got = [(r.prompt_id, r.image, r.score) for r in rows]
        if name not in PREFIX_FREE and got != said[: len(got)]:
            return "a cut file gave other scores than the whole one begins with"
        if name in PREFIX_FREE and not set(x[2] for x in got) <= set(x[2] for x in said):
            return "a cut file gave scores that the whole one does not have"
    return None


def run(count: int, seed: int, folder: Path) -> tuple[Counter[str], str | None]:
    """``count`` mutants; the counts by outcome, and the first failure if there is one."""
    rng = random.Random(seed)
    outcomes: Counter[str] = Counter()
    made = {}
    for name, write in SHAPES.items():
        (folder / name).mkdir(parents=True)
        path = write(folder / name)
        made[name] = path, one_file(path), one_file(path).read_bytes(), read_results(path)
    for number in range(count):
        name = rng.choice(list(made))
        path, file, data, whole = made[name]
        other = made[rng.choice([n for n in made if n != name])][2]
        way, mutant = mutate(rng, data, other)
        file.write_bytes(mutant)
        try:
            rows: list[EvalRow] | None = read_results(path)
            find_weaknesses(rows or ())
        except DatagenError as error:
            rows = None
            if "\n" in str(error):
                return outcomes, f"{name}, mutant {number} ({way}): an error of several lines: {error}"
        except Exception as error:
            return outcomes, f"{name}, mutant {number} ({way}): {type(error).__name__}: {error}"
        finally:
            file.write_bytes(data)
        if mutant != data and (wrong := judge(name, way, rows, whole)):
            return outcomes, f"{name}, mutant {number} ({way}): {wrong}"
        outcomes["refused" if rows is None else "read"] += 1
        outcomes[f"{way}: {'refused' if rows is None else 'read'}"] += 1
    return outcomes, None


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        outcomes, failure = run(args.files, args.seed, Path(folder))
    if failure:
        sys.exit(failure)
    print(f"{args.files} damaged files of {len(SHAPES)} shapes: {outcomes['refused']} refused in one line, "
          f"{outcomes['read']} read, 0 tracebacks")  # fmt: skip
    for way, n in sorted((k, v) for k, v in outcomes.items() if ":" in k):
        print(f"  {way:<24}{n:>6}")


if __name__ == "__main__":
    main()
