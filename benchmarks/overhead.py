"""What the engine costs beside the work: ``python -m benchmarks.overhead [pocket] [instant]``.

``pocket``: a build of 1,000 candidates against the bare loop (generate, score, encode) in one process,
with one worker and with two; Ray's start and the workers' (imports, the model) apart: they end where
the first shard begins. ``instant``: a model and a reward that cost nothing, so that only the engine is
left: candidates a second by stage, and the greatest memory of driver and workers as the build grows; with
``--apart`` rewards are judged in a pool of their own, and pictures go from worker to worker.

Last printed, on two cores. 1,000 pocket candidates: one worker 1.10 of the bare loop by the clock and by processor
seconds, two workers 1.91 times one; their start 6 s (Ray, imports, the model). Instant, two workers:

  candidates  in all  through workers  prompts  candidates  end      MiB at most: prompts, candidates, end; a worker
      10,000    500/s         2,160/s    1.4 s      15.1 s   2.8 s           44  135  331; 251
   1,000,000  2,420/s         4,888/s   96.2 s     214.6 s 101.7 s           78  173  218; 428

So the engine passes on more than 2,000/s through all of its stages, and no process grows with the build: the driver
has 152 MiB with the first shard of a million and 173 with the last, and at the end, whose work is the workers' (the
driver's own at 10,000, which is few), 218. Writing prompts (dense scenes, of a template) is one core's work.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from datagen.models.base import GenerationConfig, UnifiedSample
from datagen.recipe import Recipe, load_recipe
from datagen.sample import Sample, Score

if TYPE_CHECKING:
    from PIL.Image import Image

K = 8
STAGES = ("prompts", "candidates", "end")  # what the driver is at
MODEL, REWARD = "benchmarks.overhead:load", "benchmarks.overhead:coin"


class Instant:
    """Pictures from a drawer."""

    name = "instant"

    def __init__(self) -> None:
        import numpy as np
        from PIL import Image

        rng = np.random.default_rng(0)
        self.pictures = []
        for _ in range(997):
            pixels = np.full((48, 48, 3), 255, dtype=np.uint8)
            (x, y), size = rng.integers(0, 30, 2), rng.integers(8, 18, 2)
            pixels[y : y + size[0], x : x + size[1]] = rng.integers(0, 200, 3)
            self.pictures.append(Image.fromarray(pixels))

    def generate(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        config: GenerationConfig,
        traces: Sequence[str] | None = None,
    ) -> list[UnifiedSample]:
        return [
            UnifiedSample(p, "a trace", None, self.picture(s), None, "model")
            for p, s in zip(prompts, seeds, strict=True)
        ]

    def picture(self, seed: int) -> "Image":
        """One of the drawer's with a square of its own: copies would be dropped, which no build sees."""
        one, x, y = self.pictures[seed % 997].copy(), seed // 997 % 6, seed // 5982 % 6
        one.paste(
            (seed // 35892 % 256, seed // 7 % 256, seed // 11 % 256), (8 * x, 8 * y, 8 * x + 8, 8 * y + 8)
        )
        return one


def load(name: str, device: str | None = None) -> Instant:
    return Instant()


load.vocabulary = "scenes"  # type: ignore[attr-defined]


def coin(samples: Sequence[Sample]) -> list[Score]:
    return [Score("coin", float(s.seed % 3 > 0)) for s in samples]


def recipe(prompts: int, instant: bool = False) -> Recipe:
    """Counting, or where nothing costs dense scenes: a million candidates want more targets than counting has."""
    found = load_recipe("dense" if instant else "counting")
    row = found.model_dump()
    row["prompts"]["count"], row["candidates"]["k"] = prompts, K
    if instant:
        row["vocabularies"] = {"scenes": {}}
        row["rewards"] = {"image": {REWARD: 1.0}, "text": {REWARD: 1.0}}
    return Recipe.model_validate(row)


def memory(pid: int) -> float:
    """MiB that a process holds of its own now, without pages of files, which the kernel can drop."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Anonymous:")) / 1024


def workers_of(mark: str) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            ray = b"ray::MapWorker" in (folder / "cmdline").read_bytes()
            if ray and mark.encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def used(pids: Sequence[int]) -> float:
    """Processor seconds of some processes, all their threads."""
    total = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def one_build(prompts: int, workers: int, apart: int, model: str, instant: bool) -> dict[str, float]:
    """A build in this process, which is a fresh one; its times and its memory. ``apart``: reward workers."""
    from datagen.making import GROUPS_PER_SHARD, Resources
    from datagen.pipeline import build

    mark = f"DATAGEN_OVERHEAD={os.getpid()}"
    os.environ["DATAGEN_OVERHEAD"] = str(os.getpid())
    marks: list[
        tuple[float, ...]
    ] = []  # at no shard, the first and the last: which, clock, processors, memory
    greatest = dict.fromkeys((*STAGES, "a worker"), 0.0)
    stage = [STAGES[0]]
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.5):
            greatest[stage[0]] = max(greatest[stage[0]], memory(os.getpid()))
            greatest["a worker"] = max([greatest["a worker"], *(memory(pid) for pid in workers_of(mark))])

    def note(name: str, done: int, total: int) -> None:
        if name not in ("candidates", "score"):
            return
        stage[0] = STAGES[1 + (done == total)]
        if done in (0, 1, total) and (not marks or marks[-1][0] != done):
            cpu = used(workers_of(mark)), time.process_time()
            marks.append((done, time.perf_counter(), *cpu, memory(os.getpid())))

    watcher = threading.Thread(target=watch, daemon=True)
    if instant:  # reading a process's memory holds it up
        watcher.start()
    with tempfile.TemporaryDirectory() as folder:
        who = Resources(workers, reward_workers=apart)
        began = time.perf_counter()
        made = build(Path(folder), [recipe(prompts, instant)], model, progress=note, resources=who)
        total = time.perf_counter() - began
    over.set()
    if instant:
        watcher.join()
    start, first, last = marks
    return {
        "candidates": made.candidates,
        "shards": -(-made.candidates // K // GROUPS_PER_SHARD),
        "total": total,
        "to the first shard": first[1] - start[1],
        "after the first shard": last[1] - first[1],
        "worker CPU": last[2] - first[2],
        "driver CPU": last[3] - first[3],
        "driver MiB first shard": first[4],
        "driver MiB last shard": last[4],
        **{f"stage {name}": seconds for name, seconds in made.seconds.items()},
        **{f"{who} MiB": size for who, size in greatest.items()},
        "peak MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def bare(prompts: int) -> dict[str, float]:
    """Generate, score, encode: shard after shard, nothing written."""
    import torch

    from datagen.candidates import generate_candidates
    from datagen.checks import evaluation_for, resolved
    from datagen.guard import EvaluationIndex
    from datagen.llm import load_llm
    from datagen.making import GROUPS_PER_SHARD
    from datagen.models import load_model
    from datagen.prompting import write_recipe
    from datagen.scores import score_candidates
    from datagen.targets import VOCABULARIES
    from rewards import load_rewards

    torch.set_num_threads(1)
    (one,) = resolved([recipe(prompts)], "pocket")
    vocabulary = VOCABULARIES["scenes"]
    index = EvaluationIndex(evaluation_for(vocabulary))
    written = write_recipe(one, vocabulary, load_llm("template"), prompts, 0, index)[0]
    model = load_model("pocket")
    rewards = load_rewards(one.reward_names, one.rewards.options, {}, model)
    times, cpu = [time.perf_counter()], [time.process_time()]
    for start in range(0, len(written), GROUPS_PER_SHARD):
        part = written[start : start + GROUPS_PER_SHARD]
        score_candidates(generate_candidates(part, model, one), rewards, one)
        times.append(time.perf_counter())
        cpu.append(time.process_time())
    return {
        "candidates": len(written) * K,
        "total": times[-1] - times[0],
        "first shard": times[1] - times[0],
        "after the first shard": times[-1] - times[1],
        "worker CPU": cpu[-1] - cpu[1],
    }


def fresh(what: str, *numbers: int) -> dict[str, float]:
    """One measurement in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.overhead", "--one", what, *map(str, numbers)]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(said.splitlines()[-1])


def pocket(candidates: int, rounds: int) -> None:
    """The bare loop and the builds in turn; the least of ``rounds`` each, as others use the machine."""
    best: dict[str, dict[str, float]] = {}
    for _ in range(rounds):
        for what, numbers in (("bare", ()), ("one", (1, 0)), ("two", (2, 0))):
            found = fresh("bare" if what == "bare" else "pocket", candidates // K, *numbers)
            if what not in best or found["after the first shard"] < best[what]["after the first shard"]:
                best[what] = found
    loop = best["bare"]
    print(
        f"bare loop: {loop['candidates']:.0f} candidates in {loop['total']:.1f} s; after its first shard "
        f"{loop['after the first shard']:.1f} s, {loop['worker CPU']:.1f} s of processor"
    )
    for name in ("one", "two"):
        made = best[name]
        wall = made["after the first shard"] / loop["after the first shard"]
        print(
            f"{name} worker(s): first shard after {made['to the first shard']:.1f} s (bare: "
            f"{loop['first shard']:.1f}), the others {made['after the first shard']:.1f} s; ratio to the bare "
            f"loop {wall:.2f}; processor seconds of the driver {made['driver CPU']:.1f}"
        )
    cpu = best["one"]["worker CPU"] / loop["worker CPU"]  # of two workers one may have ended by then
    print(f"processor seconds of the one worker against the bare loop: {cpu:.2f}")
    faster = best["one"]["after the first shard"] / best["two"]["after the first shard"]
    print(f"two workers against one, after the first shard: {faster:.2f}x")


def instant(sizes: Sequence[int], apart: bool) -> None:
    for size in sizes:
        made = fresh("instant", size // K, *((1, 1) if apart else (2, 0)))
        rate = made["candidates"] / made["after the first shard"] * (1 - 1 / made["shards"])
        stages = ", ".join(f"{k[6:]} {v:.1f} s" for k, v in made.items() if k.startswith("stage "))
        peaks = ", ".join(f"{name} {made[f'{name} MiB']:.0f}" for name in (*STAGES, "a worker"))
        print(
            f"{made['candidates']:.0f} candidates: {made['candidates'] / made['total']:.0f}/s in all, "
            f"{rate:.0f}/s through the workers ({stages}); MiB at most: "
            f"{peaks} (driver at its first shard "
            f"{made['driver MiB first shard']:.0f}, at its last {made['driver MiB last shard']:.0f})"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", nargs="*", default=["pocket", "instant"], help="pocket, instant")
    parser.add_argument("--candidates", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 40_000])
    parser.add_argument("--apart", action="store_true", help="instant: one worker draws and one judges")
    parser.add_argument("--one", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        kind, *rest = args.one
        if kind == "bare":
            print(json.dumps(bare(*map(int, rest))))
        else:
            prompts, workers, apart = map(int, rest)
            model = "pocket" if kind == "pocket" else MODEL
            print(json.dumps(one_build(prompts, workers, apart, model, kind == "instant")))
        return
    if "pocket" in args.what:
        pocket(args.candidates, args.rounds)
    if "instant" in args.what:
        instant(args.sizes, args.apart)


if __name__ == "__main__":
    main()
