"""Kill a build at random and compare its dataset: ``python -m benchmarks.faults``.

A cluster of three nodes runs a build over and over; each time some shards have been finished, one
thing dies by SIGKILL: the driver, a worker, or a whole node (replaced by a new one). The dataset must
end byte-identical to that of an undisturbed build in one process, card included, and nothing may be quarantined.
Last printed, on two shared cores:

  --prompts 480          15 workers, 5 drivers, 3 nodes died, 98 s: byte-identical, none quarantined
"""

import argparse
import contextlib
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from datagen.making import Resources
from datagen.models.fake import FakeModel
from datagen.pipeline import build
from datagen.recipe import Recipe, load_recipe

MODEL = "benchmarks.faults:load"
PAUSE = 0.25  # seconds a batch, so that there is something to interrupt
PATIENCE = 60.0  # seconds without a new shard, and something dies all the same


def load(name: str, device: str | None = None) -> FakeModel:
    """The fake model at the speed of a small real one."""
    return _Slow()


load.vocabulary = "scenes"  # type: ignore[attr-defined]


class _Slow(FakeModel):
    def generate(self, prompts, seeds, config, traces=None):  # type: ignore[no-untyped-def]
        time.sleep(PAUSE)
        return super().generate(prompts, seeds, config, traces)


def recipe(prompts: int) -> Recipe:
    found = load_recipe("counting")
    return found.model_copy(
        update={
            "prompts": found.prompts.model_copy(update={"count": prompts}),
            "candidates": found.candidates.model_copy(update={"k": 2}),
        }
    )


def digests(run: Path) -> dict[str, str]:
    """The dataset's bytes: data, card, Croissant metadata and checksums."""
    dataset = run / "dataset"
    files = sorted(p for p in dataset.rglob("*") if p.is_file() and ".cache" not in p.parts)
    return {str(p.relative_to(run)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@dataclass
class Drill:
    """What died, how often, and what came out."""

    died: Counter[str] = field(default_factory=Counter)
    starts: int = 0
    seconds: float = 0.0
    identical: bool = False
    quarantined: int = 0


def drill(folder: Path, prompts: int, kills: int, losses: int, apart: bool = False, seed: int = 0) -> Drill:
    """``kills`` of driver or workers and ``losses`` of nodes, spread over one build.

    ``apart`` scores in workers of their own, so that pictures are lost with a node too.
    """
    from ray.cluster_utils import Cluster

    os.environ["DATAGEN_DRILL"] = str(os.getpid())  # marks the processes that may be killed
    build(folder / "calm", [recipe(prompts)], MODEL)
    rng = random.Random(seed)
    plan = ["node"] * losses + [rng.choice(("driver", "worker", "worker")) for _ in range(kills)]
    rng.shuffle(plan)
    done, run, began = Drill(), folder / "wild", time.monotonic()
    node = {"num_cpus": 2, "object_store_memory": 100 * 2**20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    node.pop("include_dashboard")
    others = [cluster.add_node(**node) for _ in range(2)]
    driver = _start(run, prompts, apart, cluster.address)
    done.starts = 1
    try:
        finished, since = 0, time.monotonic()
        while True:
            if driver.poll() is not None:
                if driver.returncode == 0:
                    break
                driver = _start(run, prompts, apart, cluster.address)
                done.starts += 1
            time.sleep(0.05)
            now = _shards(run)
            late = time.monotonic() - since > PATIENCE
            if not plan or (now <= finished and not late):
                continue
            what = plan[-1]
            if what == "driver":
                driver.kill()
                driver.wait()
            elif what == "worker":
                workers = _workers()
                if not workers:
                    continue
                with contextlib.suppress(ProcessLookupError):
                    os.kill(rng.choice(workers), signal.SIGKILL)
            else:
                cluster.remove_node(others.pop(rng.randrange(len(others))), allow_graceful=False)
                others.append(cluster.add_node(**node))
            plan.pop()
            done.died[what] += 1
            finished, since = now + rng.randrange(2), time.monotonic()
    finally:
        driver.kill()
        cluster.shutdown()
    if plan:
        raise SystemExit(f"the build was done before {len(plan)} of the deaths; give it more --prompts")
    done.seconds = time.monotonic() - began
    again = build(run, [recipe(prompts)], MODEL)  # all stands: nothing is rendered
    done.identical, done.quarantined = digests(run) == digests(folder / "calm"), len(again.quarantined)
    return done


def _start(run: Path, prompts: int, apart: bool, address: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "benchmarks.faults", "--drive", str(run), "--prompts", str(prompts)]
    command += ["--address", address, *(["--apart"] if apart else [])]
    with (run.parent / "driver.log").open("ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log)


def _shards(run: Path) -> int:
    path = run / "shards.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def _workers() -> list[int]:
    """Actors of Ray Data on this machine, of this benchmark's own cluster."""
    found = []
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if folder.name.isdigit() and b"ray::MapWorker" in (folder / "cmdline").read_bytes():
                mine = f"DATAGEN_DRILL={os.getpid()}".encode()
                if mine in (folder / "environ").read_bytes():
                    found.append(int(folder.name))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--prompts", type=int, default=480)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--losses", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--apart", action="store_true", help="rewards in workers of their own")
    parser.add_argument("--drive", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--address", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.drive:
        pools = Resources(2, reward_workers=2 if args.apart else 0, address=args.address)
        build(args.drive, [recipe(args.prompts)], MODEL, resources=pools)
        return
    with tempfile.TemporaryDirectory() as folder:
        done = drill(Path(folder), args.prompts, args.kills, args.losses, args.apart, args.seed)
    print(f"died: {dict(done.died)}; the driver started {done.starts} times; {done.seconds:.0f} s")
    print(
        f"dataset byte-identical to an undisturbed build: {done.identical}; quarantined: {done.quarantined}"
    )


if __name__ == "__main__":
    main()
