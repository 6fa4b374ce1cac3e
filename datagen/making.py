"""The build's middle: which shards there are, which still stand, and the pools that make the others."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from datagen.errors import ShardError, WorkError
from datagen.manifest import Manifest
from datagen.prompt_file import PromptFile
from datagen.quarantine import WAITS, Guarded
from datagen.stages import Job, Make, Plain, Render, Score, Written
from datagen.workers import Stage, run_stages

GROUPS_PER_SHARD = 8
LOST = 0.05  # of the prompts may be quarantined; beyond, the cause is elsewhere
LOST_AT_LEAST = 2 * GROUPS_PER_SHARD
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Resources:
    """Who works where. ``workers`` 0 is this process; ``reward_workers`` 0 scores where it was rendered.

    ``least`` and ``reward_least`` make those pools elastic: Ray keeps between so many and all of them. GPUs
    are of each worker, and may be a fraction; None is one where there are any. ``timeout``: seconds that a
    prompt may take before its worker is taken for hung. ``llm_workers`` write prompts before that (0: this
    process does), each with ``llm_gpus``, and are handed ``llm_batch`` requests at a time.
    """

    workers: int = 0
    model_gpus: float | None = None
    reward_workers: int = 0
    reward_gpus: float | None = None
    address: str | None = None
    timeout: float = 600.0
    llm_workers: int = 0
    llm_gpus: float = 0.0
    llm_batch: int = 32
    least: int | None = None
    reward_least: int | None = None


@dataclass(frozen=True)
class Plan:
    """What every shard of a build needs; ``job`` reads the prompts of one from disk, where it is due.

    It travels to each worker once, so that what is sent for a shard is its name.
    """

    settings: dict[str, dict[str, Any]]  # by recipe
    prompts: PromptFile
    model: str
    llm: str
    folder: Path
    batch: int

    @property
    def names(self) -> list[str]:
        return [name for recipe in self.settings for name in self.names_of(recipe)]

    def names_of(self, recipe: str) -> list[str]:
        count = -(-self.prompts.count(recipe) // GROUPS_PER_SHARD)
        return [f"{recipe}-{number:05d}.parquet" for number in range(count)]

    def job(self, name: str) -> Job:
        recipe, _, number = name.removesuffix(".parquet").rpartition("-")
        start = int(number) * GROUPS_PER_SHARD
        some = tuple(self.prompts.read(recipe, start, start + GROUPS_PER_SHARD))
        return Job(
            name, recipe, self.settings[recipe], some, self.model, self.llm, str(self.folder), self.batch
        )


class Reading:
    """A stage's function whose items are names of shards."""

    def __init__(self, plan: Plan, make: Callable[[], Callable[[Job], Any]]) -> None:
        self.plan, self.work = plan, make()

    def __call__(self, name: str) -> Any:
        return self.work(self.plan.job(name))


def missing(plan: Plan, manifest: Manifest, redone: list[str]) -> list[str]:
    """The shards that are not there to be trusted; damaged ones are named in ``redone``."""
    names = []
    for name in plan.names:
        try:
            if manifest.check_shard(name):
                continue
        except ShardError as error:
            redone.append(str(error))
        names.append(name)
    return names


def make_shards(
    run: Path, plan: Plan, left: Sequence[str], who: Resources, progress: Progress
) -> Iterator[Written]:
    """The missing shards as they finish, in this process or in one pool or two."""
    journals = run / "journals"
    shutil.rmtree(journals, ignore_errors=True)
    total = len(plan.names)
    done = total - len(left)

    def tell() -> None:
        if who.workers and who.reward_workers:
            waiting = sum(1 for _ in journals.glob(f"*{WAITS}"))
            progress("render", min(done + waiting, total), total)
            progress("score", done, total)
        else:
            progress("candidates", done, total)

    tell()
    if not who.workers:
        stages = [Stage("candidates", partial(Reading, plan, partial(Plain, Make)), 0)]
    else:
        journals.mkdir(exist_ok=True)  # a worker of a driver that was just killed may still write

        def guarded(name: str, make: Any, count: int, gpus: float | None, least: int | None) -> Stage:
            guard = partial(Guarded, name, make, journals, who.timeout, make is Render)
            first = make is not Score
            return Stage(name, partial(Reading, plan, guard) if first else guard, count, gpus, None, least)

        if who.reward_workers:
            stages = [
                guarded("render", Render, who.workers, who.model_gpus, who.least),
                guarded("score", Score, who.reward_workers, who.reward_gpus, who.reward_least),
            ]
        else:
            stages = [guarded("candidates", Make, who.workers, who.model_gpus, who.least)]
    for _, written in run_stages(stages, left, who.address):
        yield written
        done += 1
        tell()
    shutil.rmtree(journals, ignore_errors=True)


def check_quarantined(manifest: Manifest, total: int) -> None:
    """A prompt may kill its workers; when many do, it is not the prompts."""
    lost = [q for rows in manifest.quarantined.values() for q in rows]
    if len(lost) > max(LOST_AT_LEAST, LOST * total):
        raise WorkError(
            f"{len(lost)} of {total} prompts killed their workers, so it is not the prompts: {lost[-1]['reason']}"
        )
