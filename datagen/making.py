"""The build's middle: which shards there are, which still stand, and the pools that make the others."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, overload

from datagen.errors import ShardError, WorkError
from datagen.manifest import Manifest
from datagen.prompt_file import PromptFile
from datagen.quarantine import WAITS, Guarded
from datagen.recipe import Recipe
from datagen.stages import Job, Make, Plain, Render, Score, Written
from datagen.workers import Stage, run_stages

GROUPS_PER_SHARD = 8
LOST = 0.05  # of the prompts may be quarantined; beyond, the cause is elsewhere
LOST_AT_LEAST = 2 * GROUPS_PER_SHARD
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Resources:
    """Who works where. ``workers`` 0 is this process; ``reward_workers`` 0 scores where it was rendered.

    GPUs are of each worker, and may be a fraction; None is one where there are any. ``timeout``: seconds
    that a prompt may take before its worker is taken for hung. ``llm_workers`` write prompts before that
    (0: this process does), each with ``llm_gpus``.
    """

    workers: int = 0
    model_gpus: float | None = None
    reward_workers: int = 0
    reward_gpus: float | None = None
    address: str | None = None
    timeout: float = 600.0
    llm_workers: int = 0
    llm_gpus: float = 0.0


class Jobs(Sequence[Job]):
    """Shards to make, in order. Each is made of the prompts on disk when it is due, so that none is held."""

    def __init__(self, names: Sequence[str], make: Callable[[str], Job]) -> None:
        self.names, self.make = names, make

    def __len__(self) -> int:
        return len(self.names)

    def names_of(self, recipe: str) -> list[str]:
        return [name for name in self.names if name.rpartition("-")[0] == recipe]

    @overload
    def __getitem__(self, at: int) -> Job: ...
    @overload
    def __getitem__(self, at: slice) -> "Jobs": ...
    def __getitem__(self, at: int | slice) -> "Job | Jobs":
        return Jobs(self.names[at], self.make) if isinstance(at, slice) else self.make(self.names[at])


def plan(
    recipes: Sequence[Recipe], prompts: PromptFile, model: str, llm: str, folder: Path, batch: int
) -> Jobs:
    """The shards that the build consists of, whoever makes them."""
    settings = {r.name: r.model_dump(mode="json") for r in recipes}
    places = {
        f"{recipe.name}-{start // GROUPS_PER_SHARD:05d}.parquet": (recipe.name, start)
        for recipe in recipes
        for start in range(0, prompts.count(recipe.name), GROUPS_PER_SHARD)
    }

    def make(name: str) -> Job:
        recipe, start = places[name]
        some = tuple(prompts.read(recipe, start, start + GROUPS_PER_SHARD))
        return Job(name, recipe, settings[recipe], some, model, llm, str(folder), batch)

    return Jobs(list(places), make)


def missing(jobs: Jobs, manifest: Manifest, redone: list[str]) -> Jobs:
    """The jobs without a shard that can be trusted; damaged ones are named in ``redone``."""
    names = []
    for name in jobs.names:
        try:
            if manifest.check_shard(name):
                continue
        except ShardError as error:
            redone.append(str(error))
        names.append(name)
    return Jobs(names, jobs.make)


def make_shards(run: Path, left: Jobs, total: int, who: Resources, progress: Progress) -> Iterator[Written]:
    """The missing shards as they finish, in this process or in one pool or two."""
    journals = run / "journals"
    shutil.rmtree(journals, ignore_errors=True)
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
        stages = [Stage("candidates", partial(Plain, Make), 0)]
    else:
        journals.mkdir(exist_ok=True)  # a worker of a driver that was just killed may still write

        def guarded(name: str, make: Any, count: int, gpus: float | None) -> Stage:
            hands_on = make is Render
            guard = partial(Guarded, name, make, journals, who.timeout, hands_on)
            return Stage(name, guard, count, gpus, None)

        if who.reward_workers:
            stages = [
                guarded("render", Render, who.workers, who.model_gpus),
                guarded("score", Score, who.reward_workers, who.reward_gpus),
            ]
        else:
            stages = [guarded("candidates", Make, who.workers, who.model_gpus)]
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
