"""The build, stage by stage: prompts, candidates, scores, dedupe, weights, dataset. Resumable.

Prompts are cheap and written first, then fixed in ``prompts.json``; groups of prompts become shards
(fixed size, so the number of workers changes nothing) that are rendered and scored in parallel;
when all shards stand, dedupe and weights run over everything. A run directory remembers its
settings: resuming with others says what changed and stops. Workers write shards themselves, so on a
cluster the run directory lies on storage that every node shares.
"""

import json
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from datagen.candidates import BATCH
from datagen.checks import evaluation_for, resolved, short_digest
from datagen.dataset import dataset_card, save_dataset, summarise
from datagen.dedupe import dedupe_images
from datagen.errors import ShardError, WorkError
from datagen.guard import EvaluationIndex
from datagen.llm import load_llm
from datagen.manifest import Manifest, open_manifest
from datagen.models.vocabulary import vocabulary_of
from datagen.prompting import build_prompts, write_recipe
from datagen.recipe import Recipe
from datagen.sample import Sample
from datagen.shards import read_shard, write_atomic
from datagen.stages import WAITS, Guarded, Job, Make, Plain, Render, Score, Written
from datagen.targets import VOCABULARIES
from datagen.weights import weigh
from datagen.workers import Stage, run_stages

GROUPS_PER_SHARD = 8
LOST = 0.05  # of the prompts may be quarantined; beyond, the cause is elsewhere
LOST_AT_LEAST = 2 * GROUPS_PER_SHARD
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Workers:
    """Who renders and scores. ``model`` 0 is this process; ``rewards`` 0 scores where it was rendered.

    GPUs are a worker's own, and may be a fraction; None is one where there are any. ``seconds`` a prompt
    may take before its worker is taken for hung.
    """

    model: int = 0
    model_gpus: float | None = None
    rewards: int = 0
    reward_gpus: float | None = None
    address: str | None = None
    seconds: float = 600.0


@dataclass(frozen=True)
class BuildSummary:
    """What a build did. ``recipes``: ``dataset.summarise``; ``seconds`` by stage; ``prompts`` by recipe.

    ``redone`` names what was damaged and made again; ``quarantined`` the prompts that killed workers.
    """

    recipes: dict[str, dict[str, Any]]
    prompts: dict[str, dict[str, Any]]
    seconds: dict[str, float] = field(default_factory=dict)
    redone: tuple[str, ...] = ()
    quarantined: tuple[dict[str, str], ...] = ()

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
    workers: int | Workers = 0,
    seed: int = 0,
    force: bool = False,
    progress: Progress = lambda stage, done, total: None,
    against: Sequence[Path] = (),
    batch: int = BATCH,
) -> BuildSummary:
    """Build ``run/dataset`` from recipes; run it again to resume.

    ``against`` are files of evaluation prompts that the build must not overlap, beside the suite of the
    model's vocabulary; ``batch`` candidates are rendered at once. Raises ``InputError`` when a name is
    unknown (before anything is written) or ``run`` was begun with other settings, ``WorkError`` when
    nothing is left.
    """
    workers = Workers(workers) if isinstance(workers, int) else workers
    recipes = resolved(recipes, model)
    vocabulary = VOCABULARIES[vocabulary_of(model)]
    evaluation = evaluation_for(vocabulary, against)
    settings: dict[str, Any] = {
        "recipes": {r.name: r.model_dump(mode="json") for r in recipes},
        "model": model,
        "llm": llm,
        "seed": seed,
    }
    if against:
        settings["against"] = [f"{path.name} {short_digest(path)}" for path in against]
    if batch != BATCH:
        settings["batch"] = batch
    shards = run / "shards"
    for folder in (shards, run / "recipes"):
        folder.mkdir(parents=True, exist_ok=True)
    manifest = open_manifest(run, settings, force)
    seconds: dict[str, float] = {}
    for recipe in recipes:
        write_atomic(run / "recipes" / f"{recipe.name}.yaml", recipe.to_yaml().encode())

    started = time.monotonic()
    redone = list(manifest.damage)
    prompts, reports = build_prompts(
        run, manifest, recipes, vocabulary, evaluation, llm, seed, redone, progress
    )
    seconds["prompts"] = time.monotonic() - started

    started = time.monotonic()
    jobs = _jobs(recipes, prompts, model, llm, shards, batch)
    missing = list(_missing(jobs, manifest, redone))
    total = sum(len(job.prompts) for job in jobs)
    for made in _make(run, missing, len(jobs), workers, progress):
        manifest.record(made.name, made.sha256, [asdict(q) for q in made.quarantined])
        _check_quarantined(manifest, total)
    seconds["candidates"] = time.monotonic() - started

    started = time.monotonic()
    samples: list[Sample] = []
    for recipe in recipes:
        mine = [
            s
            for job in jobs
            if job.recipe == recipe.name
            for s in read_shard(shards / job.name, manifest.shards[job.name])
        ]
        samples += weigh(dedupe_images(mine, recipe.dedupe.images), recipe)
    seconds["dedupe and weights"] = time.monotonic() - started
    if not any(not s.dropped for s in samples):
        raise WorkError(f"no candidate was kept: {_why_none(samples, reports)}")

    started = time.monotonic()
    save_dataset(samples, run / "dataset", dataset_card(samples, settings))
    seconds["dataset"] = time.monotonic() - started
    progress("dataset", 1, 1)
    quarantined = tuple(q for job in jobs for q in manifest.quarantined.get(job.name, ()))
    result = BuildSummary(summarise(samples), reports, seconds, tuple(redone), quarantined)
    row = {
        "recipes": result.recipes, "prompts": reports, "seconds": seconds, "quarantined": quarantined,
    }  # fmt: skip
    write_atomic(run / "build.json", (json.dumps(row, indent=2) + "\n").encode())
    return result


def preview(recipes: Sequence[Recipe], model: str, llm: str, n: int, seed: int = 0) -> list[Sample]:
    """``n`` prompts of the recipes through every stage up to the weights, nothing written."""
    writer = load_llm(llm)
    recipes = resolved(recipes, model)
    vocabulary = VOCABULARIES[vocabulary_of(model)]
    evaluation = EvaluationIndex(evaluation_for(vocabulary))
    make = Make()
    samples: list[Sample] = []
    for i, recipe in enumerate(recipes):
        share = n // len(recipes) + (i < n % len(recipes))
        if share:
            written = write_recipe(recipe, vocabulary, writer, share, seed, evaluation, {})[0]
            job = Job("preview", recipe.name, recipe.model_dump(mode="json"), tuple(written), model, llm, "")
            make.load(job)
            samples += weigh(make(job), recipe)
    return samples


def _missing(jobs: Sequence[Job], manifest: Manifest, redone: list[str]) -> Iterator[Job]:
    """The jobs without a shard that can be trusted; damaged ones are named in ``redone``."""
    for job in jobs:
        try:
            if manifest.check_shard(job.name):
                continue
        except ShardError as error:
            redone.append(str(error))
        yield job


def _make(
    run: Path, missing: Sequence[Job], total: int, workers: Workers, progress: Progress
) -> Iterator[Written]:
    """The missing shards as they finish, in this process or in one pool or two."""
    journals = run / "journals"
    shutil.rmtree(journals, ignore_errors=True)
    done = total - len(missing)

    def tell() -> None:
        if workers.model and workers.rewards:
            waiting = sum(1 for _ in journals.glob(f"*{WAITS}"))
            progress("render", min(done + waiting, total), total)
            progress("score", done, total)
        else:
            progress("candidates", done, total)

    tell()
    if not workers.model:
        stages = [Stage("candidates", partial(Plain, Make), 0)]
    else:
        journals.mkdir()

        def guarded(name: str, make: Any, count: int, gpus: float | None) -> Stage:
            return Stage(name, partial(Guarded, name, make, journals, workers.seconds), count, gpus, None)

        if workers.rewards:
            stages = [
                guarded("render", Render, workers.model, workers.model_gpus),
                guarded("score", Score, workers.rewards, workers.reward_gpus),
            ]
        else:
            stages = [guarded("candidates", Make, workers.model, workers.model_gpus)]
    for _, written in run_stages(stages, missing, workers.address):
        yield written
        done += 1
        tell()
    shutil.rmtree(journals, ignore_errors=True)


def _check_quarantined(manifest: Manifest, total: int) -> None:
    """A prompt may kill its workers; when many do, it is not the prompts."""
    lost = [q for rows in manifest.quarantined.values() for q in rows]
    if len(lost) > max(LOST_AT_LEAST, LOST * total):
        raise WorkError(
            f"{len(lost)} of {total} prompts killed their workers, so it is not the prompts: {lost[-1]['reason']}"
        )


def _why_none(samples: Sequence[Sample], reports: dict[str, dict]) -> str:
    """One line that says what took every candidate, or that there was no prompt to begin with."""
    if not samples:
        causes = "; ".join(f"{k}: {r['rejected'] | r['contaminated']}" for k, r in reports.items())
        return f"no prompt was left to render ({causes})"
    counts = Counter(s.dropped.split(" of ")[0] for s in samples)
    first = next(
        (f" (first: {c.name}: {c.reason})" for s in samples for c in s.scores if c.value is None), ""
    )
    return f"every one was dropped: {', '.join(f'{n} {reason}' for reason, n in counts.items())}{first}"


def _jobs(
    recipes: Sequence[Recipe],
    prompts: dict[str, list[Sample]],
    model: str,
    llm: str,
    folder: Path,
    batch: int,
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
            batch,
        )
        for recipe in recipes
        for start in range(0, len(prompts[recipe.name]), GROUPS_PER_SHARD)
    ]
