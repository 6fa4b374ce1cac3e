"""How fast and how big ``datagen weaknesses`` is: ``python -m benchmarks.results_speed``.

Writes GenEval results of 10,000 and 1,000,000 rows (every prompt with metadata and boxes of its own,
about 900 bytes a row: the second file is nearly 1 GB), reads each in a fresh process, and prints the
seconds after start, the processor seconds, and the greatest memory. Last printed:

         rows  file MB  seconds  processor s  memory MB
       10,000        8     0.14         0.13         72
    1,000,000      808    15.83        11.83        136
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

TAGS = ("counting", "colors", "position", "color_attr", "single_object", "two_object")
CLASSES = ("bench", "dog", "cat", "car", "fork", "bowl", "chair", "pizza", "bed", "kite")
COLORS = ("red", "green", "blue", "white", "brown")
MEASURE = """
import json, resource, sys, time
from datagen.evals import stream_all
from datagen.recipe import recipes_by_weakness
from datagen.weaknesses import find_weaknesses
recipes = recipes_by_weakness()
began, used = time.perf_counter(), time.process_time()
found = find_weaknesses(stream_all([(sys.argv[1], None)]), recipes=recipes)
print(json.dumps([time.perf_counter() - began, time.process_time() - used,
                  resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, sum(w.n for w in found if not w.parent)]))
"""


def write(path: Path, rows: int, seed: int = 0) -> None:
    """Four images a prompt, correlated; counts of four are hard, so that there is something to split."""
    rng = random.Random(seed)
    with path.open("w", encoding="utf-8") as file:
        for prompt in range(rows // 4):
            cls, count, color = rng.choice(CLASSES), rng.randint(2, 4), rng.choice(COLORS)
            index, image = prompt % 100_000, 4 * (prompt // 100_000)
            tag = TAGS[index % 6]
            clause = (
                {"class": cls, "count": count}
                if tag == "counting"
                else {"class": cls, "count": 1, "color": color}
            )
            metadata = json.dumps({"tag": tag, "include": [clause], "prompt": f"a photo of {cls} {index}"})
            chance = rng.betavariate(0.35, 0.65) if count == 4 else rng.betavariate(0.8, 0.2)
            for k in range(4):
                right = rng.random() < chance
                row = {
                    "filename": f"out/{index:05d}/samples/{image + k:04d}.png",
                    "tag": tag,
                    "prompt": f"a photo of {index}",
                    "correct": right,
                    "reason": "" if right else f"expected {cls}>={count}, found {rng.randint(0, count - 1)}",
                    "metadata": metadata,
                    "details": json.dumps({cls: [[rng.random() * 512 for _ in range(5)] for _ in range(5)]}),
                }
                file.write(json.dumps(row).replace("/", "\\/") + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="*", default=[10_000, 1_000_000])
    args = parser.parse_args()
    print("     rows  file MB  seconds  processor s  memory MB")
    with tempfile.TemporaryDirectory() as folder:
        for rows in args.rows:
            path = Path(folder) / "results.jsonl"
            write(path, rows)
            done = subprocess.run(
                [sys.executable, "-c", MEASURE, str(path)], check=True, capture_output=True, text=True
            )
            seconds, used, memory, read = json.loads(done.stdout)
            assert read == rows, (read, rows)
            print(f"{rows:9,}  {path.stat().st_size / 1e6:7.0f}  {seconds:7.2f}  {used:11.2f}  {memory:9.0f}")


if __name__ == "__main__":
    main()
