"""The two stages between prompts and shards: render candidates; score them and write the shard.

On Ray each may have its own pool (the unified model on some GPUs, the rewards on others), or both share one
actor: that saves moving pictures between processes and is the default. Either way the same functions run, so
the shards are the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datagen.candidates import generate_candidates
from datagen.llm import load_llm
from datagen.recipe import Recipe, parse_recipe
from datagen.sample import Sample
from datagen.scores import check_rewards, score_candidates
from datagen.shards import write_shard
from datagen.traces import write_traces
from datagen.workers import Stage


@dataclass(frozen=True)
class Job:
    """One shard to make: plain values only, so that it travels to any worker."""

    name: str
    recipe: str
    settings: dict[str, Any]
    prompts: tuple[Sample, ...]
    model: str
    llm: str
    folder: str


@dataclass(frozen=True)
class Resources:
    """Who works where. GPUs are of each worker; None is one where the cluster has any.

    ``reward_workers`` 0 scores in the workers that render. ``timeout``: seconds for one shard, after which its
    worker is ended and the shard tried again.
    """

    workers: int = 0
    model_gpus: float | None = None
    reward_workers: int = 0
    reward_gpus: float | None = None
    address: str | None = None
    timeout: float = 7200.0


class Renderer:
    """A job to its candidates, keeping the model loaded."""

    def __init__(self) -> None:
        self.models: dict[str, Any] = {}

    def model(self, name: str) -> Any:
        from datagen.models import load_model

        if name not in self.models:
            self.models[name] = load_model(name)
        return self.models[name]

    def __call__(self, job: Job) -> tuple[Job, list[Sample]]:
        recipe = parse_recipe(job.settings, job.recipe)
        traces = None
        if recipe.trace in ("llm", "template"):
            traces = write_traces(job.prompts, recipe.trace, load_llm(job.llm))
        return job, generate_candidates(job.prompts, self.model(job.model), recipe, traces)


class Scorer:
    """Candidates to scored candidates, keeping the rewards loaded.

    A reward that asks the unified model itself takes it from ``renderer``, or loads it here.
    """

    def __init__(self, renderer: Renderer | None = None) -> None:
        self.renderer, self.shared = renderer or Renderer(), renderer is not None
        self.rewards: dict[str, Any] = {}

    def __call__(self, made: tuple[Job, list[Sample]]) -> tuple[Job, list[Sample]]:
        from rewards import load_rewards

        job, samples = made
        recipe = parse_recipe(job.settings, job.recipe)
        model = self.renderer.model(job.model) if self.shared or _asks_the_model(recipe) else None
        rewards = load_rewards(recipe.reward_names, recipe.rewards.options, self.rewards, model)
        check_rewards(rewards, recipe)
        return job, score_candidates(samples, rewards, recipe)


class ShardMaker:
    """Both stages in one process: a job to the digest of its shard."""

    def __init__(self) -> None:
        renderer = Renderer()
        self.render, self.score = renderer, Scorer(renderer)

    def samples(self, job: Job) -> list[Sample]:
        return self.score(self.render(job))[1]

    def __call__(self, job: Job) -> str:
        return written(self.score(self.render(job)))


class Finisher:
    """Scores what another process rendered, and writes it."""

    def __init__(self) -> None:
        self.score = Scorer()

    def __call__(self, made: tuple[Job, list[Sample]]) -> str:
        return written(self.score(made))


def written(made: tuple[Job, Sequence[Sample]]) -> str:
    """The digest of the shard."""
    job, samples = made
    return write_shard(Path(job.folder) / job.name, samples)


def stages(r: Resources) -> list[Stage]:
    """The pools that ``r`` asks for."""
    if r.workers and r.reward_workers:
        return [
            Stage(lambda: Renderer(), r.workers, r.model_gpus),
            Stage(lambda: Finisher(), r.reward_workers, r.reward_gpus, cpus=0.25),
        ]
    return [Stage(lambda: ShardMaker(), r.workers, r.model_gpus)]


def _asks_the_model(recipe: Recipe) -> bool:
    return "self_vqa" in recipe.reward_names
