"""The stages that cost: render a shard's prompts, score the pictures, write the shard.

``Render`` holds the model and ``Score`` the rewards; they run in one worker (``Make``) or in pools of
their own, for a model and judges that want different GPUs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from datagen.candidates import BATCH, generate_candidates
from datagen.llm import load_llm
from datagen.quarantine import Quarantined, Work
from datagen.recipe import Recipe, parse_recipe
from datagen.sample import Sample
from datagen.scores import check_rewards, score_candidates
from datagen.shards import write_shard
from datagen.traces import write_traces

_recipes: dict[str, tuple[dict[str, Any], Recipe]] = {}


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
    batch: int = BATCH
    quarantined: tuple[Quarantined, ...] = ()

    @property
    def groups(self) -> dict[str, str]:
        return {s.group_id: s.prompt for s in self.prompts}

    def only(self, groups: Sequence[str]) -> "Job":
        return replace(self, prompts=tuple(s for s in self.prompts if s.group_id in groups))

    def resolved(self) -> Recipe:
        """The recipe. A worker reads one once: checking it draws targets, which takes as long as a small shard."""
        known = _recipes.get(self.recipe)
        if known is None or known[0] != self.settings:
            known = _recipes[self.recipe] = self.settings, parse_recipe(self.settings, self.recipe)
        return known[1]


@dataclass(frozen=True)
class Rendered:
    """A shard's candidates, unscored. Travels by reference, from worker to worker."""

    job: Job
    samples: tuple[Sample, ...]
    quarantined: tuple[Quarantined, ...] = ()

    @property
    def name(self) -> str:
        return self.job.name

    @property
    def recipe(self) -> str:
        return self.job.recipe

    @property
    def groups(self) -> dict[str, str]:
        return {s.group_id: s.prompt for s in self.samples}

    def only(self, groups: Sequence[str]) -> "Rendered":
        return replace(self, samples=tuple(s for s in self.samples if s.group_id in groups))


@dataclass(frozen=True)
class Written:
    """What the driver learns of a shard: its name, its checksum, and what is missing from it."""

    name: str
    sha256: str
    quarantined: tuple[Quarantined, ...] = ()


class Render:
    """Prompts to candidates, the model kept loaded."""

    def __init__(self) -> None:
        self.models: dict[str, Any] = {}

    def load(self, job: Job) -> None:
        from datagen.models import load_model

        if job.model not in self.models:
            self.models[job.model] = load_model(job.model)
        if job.resolved().trace == "llm":
            load_llm(job.llm)

    def __call__(self, job: Job) -> Rendered:
        recipe, traces = job.resolved(), None
        if recipe.trace in ("llm", "template"):
            traces = write_traces(job.prompts, recipe.trace, load_llm(job.llm))
        made = generate_candidates(job.prompts, self.models[job.model], recipe, traces, job.batch)
        return Rendered(job, tuple(made), job.quarantined)

    def finish(self, job: Job, rendered: Rendered) -> Rendered:
        return rendered


class Score:
    """Candidates to scored candidates, then to a shard on disk; the rewards kept loaded.

    ``models`` are those of a ``Render`` in the same worker; apart from it, a reward that asks the model
    itself loads another.
    """

    def __init__(self, models: dict[str, Any] | None = None) -> None:
        self.models: dict[str, Any] = {} if models is None else models
        self.rewards: dict[str, Any] = {}

    def load(self, item: Rendered | Job) -> None:
        job = item.job if isinstance(item, Rendered) else item
        self._rewards_of(job, job.resolved())

    def __call__(self, rendered: Rendered) -> list[Sample]:
        recipe = rendered.job.resolved()
        if not rendered.samples:
            return []
        return score_candidates(rendered.samples, self._rewards_of(rendered.job, recipe), recipe)

    def finish(self, item: Rendered | Job, samples: list[Sample]) -> Written:
        job = item.job if isinstance(item, Rendered) else item
        return Written(job.name, write_shard(Path(job.folder) / job.name, samples), item.quarantined)

    def _rewards_of(self, job: Job, recipe: Recipe) -> dict[str, Any]:
        from datagen.models import load_model
        from rewards import load_rewards

        options, model = recipe.rewards.options, self.models.get(job.model)
        rewards = load_rewards(recipe.reward_names, options, self.rewards, model)
        if model is None and any(hasattr(reward, "bind") for reward in rewards.values()):
            self.models[job.model] = load_model(job.model)
            rewards = load_rewards(recipe.reward_names, options, self.rewards, self.models[job.model])
        check_rewards(rewards, recipe)
        return rewards


class Make:
    """Prompts to a shard on disk, model and rewards in one process."""

    def __init__(self) -> None:
        self.render = Render()
        self.score = Score(self.render.models)

    def load(self, job: Job) -> None:
        self.render.load(job)
        self.score.load(job)

    def __call__(self, job: Job) -> list[Sample]:
        return self.score(self.render(job))

    def finish(self, job: Job, samples: list[Sample]) -> Written:
        return self.score.finish(job, samples)


class Plain:
    """``make()``'s work as it is: for the driver's own process, which would die with it."""

    def __init__(self, make: Callable[[], Work]) -> None:
        self.work = make()

    def __call__(self, item: Any) -> Any:
        self.work.load(item)
        return self.work.finish(item, self.work(item))
