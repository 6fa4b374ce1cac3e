"""The build, stage by stage: prompts, candidates, scores, dedupe, weights, dataset. Resumable.

Prompts are cheap and written first, then fixed in ``prompts.json``; groups of prompts become shards
(fixed size, so the number of workers changes nothing) that are rendered and scored in parallel;
when all shards stand, dedupe and weights run over everything. A run directory remembers its
settings: resuming with others says what changed and stops.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datagen.candidates import generate_candidates
from datagen.dataset import dataset_card, save_dataset, summarise
from datagen.decontaminate import decontaminate
from datagen.dedupe import dedupe_images, dedupe_prompts
from datagen.errors import InputError, ShardError, WorkError
from datagen.llm import load_llm
from datagen.prompts import distinct_n, write_prompts
from datagen.recipe import Recipe, parse_recipe
from datagen.sample import Sample
from datagen.scores import check_rewards, score_candidates
from datagen.shards import from_row, read_shard, to_row, write_atomic, write_shard
from datagen.suites import load_suite
from datagen.targets import VOCABULARIES
from datagen.traces import write_traces
from datagen.weights import weigh
from datagen.workers import run_jobs

GROUPS_PER_SHARD = 8
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class BuildSummary:
    """What a build did. ``recipes``: ``dataset.summarise``; ``seconds`` by stage; ``prompts`` by recipe."""

    recipes: dict[str, dict[str, Any]]
    prompts: dict[str, dict[str, Any]]
    seconds: dict[str, float] = field(default_factory=dict)
    redone: tuple[str, ...] = ()

    @property
    def kept(self) -> int:
        return sum(r["kept"] for r in self.recipes.values())

    @property
    def candidates(self) -> int:
        return sum(r["candidates"] for r in self.recipes.values())


def build(
    run: Path,
    recipes: Sequence[Recipe],
    model: str = "pocket",
    llm: str = "template",
    workers: int = 0,
    seed: int = 0,
    ray_address: str | None = None,
    force: bool = False,
    progress: Progress = lambda stage, done, total: None,
) -> BuildSummary:
    """Build ``run/dataset`` from recipes; run it again to resume.

    Raises ``InputError`` when ``run`` was begun with other settings, ``WorkError`` when nothing is left.
    """
    settings = {
        "recipes": {r.name: r.model_dump(mode="json") for r in recipes},
        "model": model,
        "llm": llm,
        "seed": seed,
    }
    shards = run / "shards"
    shards.mkdir(parents=True, exist_ok=True)
    manifest = _open_manifest(run, settings, force)
    seconds: dict[str, float] = {}
    for recipe in recipes:
        (run / "recipes").mkdir(exist_ok=True)
        (run / "recipes" / f"{recipe.name}.yaml").write_text(recipe.to_yaml())

    started = time.monotonic()
    prompts, reports = _prompts(run, recipes, llm, seed, progress)
    seconds["prompts"] = time.monotonic() - started

    started = time.monotonic()
    jobs = _jobs(recipes, prompts, model, llm, shards)
    redone = []
    missing = []
    for job in jobs:
        entry = manifest["shards"].get(job.name)
        if entry is not None:
            try:
                read_shard(shards / job.name, entry)
                continue
            except ShardError as error:
                redone.append(str(error))
        missing.append(job)
    done = len(jobs) - len(missing)
    progress("candidates", done, len(jobs))
    for job, digest in run_jobs(lambda: ShardMaker(), missing, workers, ray_address):
        manifest["shards"][job.name] = digest
        _save_manifest(run, manifest)
        done += 1
        progress("candidates", done, len(jobs))
    seconds["candidates"] = time.monotonic() - started

    started = time.monotonic()
    samples: list[Sample] = []
    for recipe in recipes:
        mine = [
            s
            for job in jobs
            if job.recipe == recipe.name
            for s in read_shard(shards / job.name, manifest["shards"][job.name])
        ]
        samples += weigh(dedupe_images(mine, recipe.dedupe.images), recipe)
    seconds["dedupe and weights"] = time.monotonic() - started
    if not any(not s.dropped for s in samples):
        raise WorkError("no candidate was kept: every one was dropped; see the shards' drop reasons")

    started = time.monotonic()
    save_dataset(samples, run / "dataset", dataset_card(samples, settings))
    seconds["dataset"] = time.monotonic() - started
    progress("dataset", 1, 1)
    result = BuildSummary(summarise(samples), reports, seconds, tuple(redone))
    row = {"recipes": result.recipes, "prompts": reports, "seconds": seconds}
    write_atomic(run / "build.json", (json.dumps(row, indent=2) + "\n").encode())
    return result


def preview(recipes: Sequence[Recipe], model: str, llm: str, n: int, seed: int = 0) -> list[Sample]:
    """``n`` prompts of the recipes through every stage up to the weights, nothing written."""
    writer = load_llm(llm)
    samples: list[Sample] = []
    for i, recipe in enumerate(recipes):
        share = n // len(recipes) + (i < n % len(recipes))
        if share:
            written = write_prompts(recipe, VOCABULARIES["scenes"], writer, share, seed).samples
            job = Job("preview", recipe.name, recipe.model_dump(mode="json"), written, model, llm, "")
            samples += weigh(ShardMaker().samples(job), recipe)
    return samples


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


class ShardMaker:
    """Renders and scores shards, keeping the model and the rewards loaded between jobs."""

    def __init__(self) -> None:
        self.models: dict[str, Any] = {}
        self.rewards: dict[str, Any] = {}

    def samples(self, job: Job) -> list[Sample]:
        from datagen.models import load_model
        from rewards import load_reward

        recipe = parse_recipe(job.settings, job.recipe)
        if job.model not in self.models:
            self.models[job.model] = load_model(job.model)
        for name in recipe.reward_names:
            if name not in self.rewards:
                self.rewards[name] = load_reward(name)
        check_rewards(self.rewards, recipe)
        traces = None
        if recipe.trace in ("llm", "template"):
            written = write_traces(job.prompts, recipe.trace, load_llm(job.llm))
            traces = written
        made = generate_candidates(job.prompts, self.models[job.model], recipe, traces)
        return score_candidates(made, self.rewards, recipe)

    def __call__(self, job: Job) -> str:
        return write_shard(Path(job.folder) / job.name, self.samples(job))


def _prompts(
    run: Path, recipes: Sequence[Recipe], llm: str, seed: int, progress: Progress
) -> tuple[dict[str, list[Sample]], dict[str, dict]]:
    """Written once and kept: an LLM may not repeat itself, a resumed build must."""
    path = run / "prompts.json"
    if path.exists():
        saved = json.loads(path.read_text())
        return {k: [from_row(r) for r in rows] for k, rows in saved["prompts"].items()}, saved["reports"]
    writer = load_llm(llm)
    evaluation = load_suite("scenes")
    prompts: dict[str, list[Sample]] = {}
    reports: dict[str, dict] = {}
    for i, recipe in enumerate(recipes):
        progress("prompts", i, len(recipes))
        result = write_prompts(recipe, VOCABULARIES["scenes"], writer, recipe.prompts.count, seed)
        clean, contaminated = decontaminate(result.samples, evaluation)
        kept, near = dedupe_prompts(clean, recipe.dedupe.prompts)
        prompts[recipe.name] = kept
        reports[recipe.name] = {
            "asked": recipe.prompts.count,
            "kept": len(kept),
            "attempts": result.attempts,
            "acceptance": result.acceptance,
            "rejected": result.rejected,
            "contaminated": contaminated,
            "near_duplicates": near,
            "wordings": result.wordings,
            "distinct_2": distinct_n([s.prompt for s in kept]),
        }
    progress("prompts", len(recipes), len(recipes))
    row = {"prompts": {k: [to_row(s) for s in v] for k, v in prompts.items()}, "reports": reports}
    write_atomic(path, json.dumps(row).encode())
    return prompts, reports


def _jobs(
    recipes: Sequence[Recipe], prompts: dict[str, list[Sample]], model: str, llm: str, folder: Path
) -> list[Job]:
    return [
        Job(
            f"{recipe.name}-{start // GROUPS_PER_SHARD:05d}.parquet",
            recipe.name,
            recipe.model_dump(mode="json"),
            tuple(prompts[recipe.name][start : start + GROUPS_PER_SHARD]),
            model,
            llm,
            str(folder),
        )
        for recipe in recipes
        for start in range(0, len(prompts[recipe.name]), GROUPS_PER_SHARD)
    ]


def _open_manifest(run: Path, settings: dict[str, Any], force: bool) -> dict[str, Any]:
    path = run / "manifest.json"
    if path.exists() and force:
        (run / "prompts.json").unlink(missing_ok=True)
        for shard in (run / "shards").glob("*.parquet"):
            shard.unlink()
        path.unlink()
    if not path.exists():
        manifest: dict[str, Any] = {"settings": settings, "shards": {}}
        _save_manifest(run, manifest)
        return manifest
    try:
        manifest = json.loads(path.read_text())
        before = manifest["settings"]
        if not isinstance(manifest["shards"], dict):
            raise TypeError("shards is not a mapping")
    except (ValueError, KeyError, TypeError) as error:
        raise ShardError(f"{path}: torn or changed; --force begins again ({error})") from error
    if changed := _changes(before, settings):
        raise InputError(f"{run} was begun with other settings: {changed}; use --force or another --run")
    return manifest


def _changes(before: Any, now: Any, at: str = "") -> str:
    """The first few differing settings as ``path: old -> new``."""
    if isinstance(before, dict) and isinstance(now, dict):
        found = [
            _changes(before.get(k), now.get(k), f"{at}.{k}" if at else k) for k in sorted({*before, *now})
        ]
        return "; ".join([f for f in found if f][:3])
    return "" if before == now else f"{at}: {_short(before)} -> {_short(now)}"


def _short(value: Any) -> str:
    return "none" if value is None else "{...}" if isinstance(value, dict) else str(value)


def _save_manifest(run: Path, manifest: dict[str, Any]) -> None:
    write_atomic(run / "manifest.json", (json.dumps(manifest, indent=1, sort_keys=True) + "\n").encode())
