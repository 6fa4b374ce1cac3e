"""The build, stage by stage: prompts, candidates, scores, dedupe, weights, dataset. Resumable.

Prompts are cheap and written first, then fixed in ``prompts.json``; groups of prompts become shards
(fixed size, so the number of workers changes nothing) that are rendered and scored in parallel;
when all shards stand, dedupe and weights run over everything. A run directory remembers its
settings: resuming with others says what changed and stops. Workers write shards themselves, so on a
cluster the run directory lies on storage that every node shares.

A shard that kills its workers is split into its prompts, and a prompt that does so alone is quarantined:
named in the manifest and the report, and left out. It stays so until ``force`` begins again.
"""

import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from datagen.card import dataset_card, summarise
from datagen.decontaminate import OVERLAPS, Evaluation, read_prompts
from datagen.errors import InputError, RecipeError, ShardError, UnknownName, WorkError
from datagen.finish import finish
from datagen.guard import NEAR_DUPLICATE, EvaluationIndex, PromptGuard, self_similarity
from datagen.llm import load_llm, release_llms
from datagen.llm.base import LLM
from datagen.models.vocabulary import vocabulary_of
from datagen.prompts import distinct_n, write_prompts
from datagen.recipe import Recipe
from datagen.registry import resolve
from datagen.sample import Sample
from datagen.shards import (
    check_shard,
    from_row,
    open_manifest,
    save_manifest,
    to_row,
    write_atomic,
)
from datagen.stages import Job, Resources, ShardMaker, stages
from datagen.suites import evaluation_of
from datagen.targets import VOCABULARIES, Vocabulary
from datagen.weakness import read_weaknesses
from datagen.weights import weigh
from datagen.workers import TRIES, Killed, run_stages

GROUPS_PER_SHARD = 8
SCENES_ONLY = ("scenes", "lettering", "trace", "follows")  # rewards that read 48 px scenes or their layouts
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class BuildSummary:
    """What a build did. ``recipes``: ``dataset.summarise``; ``seconds`` by stage; ``prompts`` by recipe."""

    recipes: dict[str, dict[str, Any]]
    prompts: dict[str, dict[str, Any]]
    seconds: dict[str, float] = field(default_factory=dict)
    redone: tuple[str, ...] = ()
    quarantined: dict[str, str] = field(default_factory=dict)  # prompt -> what it did

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
    against: Sequence[Path] = (),
    resources: Resources | None = None,
) -> BuildSummary:
    """Build ``run/dataset`` from recipes; run it again to resume.

    ``against`` are files of evaluation prompts that the build must not overlap, beside the suite of the
    model's vocabulary. ``resources`` says more than ``workers`` and ``ray_address`` about who works where. Raises ``InputError`` when a name is unknown (before anything is written) or ``run`` was begun with
    other settings, ``WorkError`` when nothing is left.
    """
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
        settings["against"] = [f"{path.name} {_digest(path)}" for path in against]
    shards = run / "shards"
    shards.mkdir(parents=True, exist_ok=True)
    manifest = open_manifest(run, settings, force)
    seconds: dict[str, float] = {}
    for recipe in recipes:
        (run / "recipes").mkdir(exist_ok=True)
        (run / "recipes" / f"{recipe.name}.yaml").write_text(recipe.to_yaml())

    started = time.monotonic()
    redone: list[str] = []
    prompts, reports = _prompts(run, manifest, recipes, vocabulary, evaluation, llm, seed, redone, progress)
    seconds["prompts"] = time.monotonic() - started

    started = time.monotonic()
    jobs = _jobs(recipes, prompts, model, llm, shards)
    who = resources or Resources(workers, address=ray_address)
    jobs = _make_shards(run, manifest, jobs, who, redone, progress)
    seconds["candidates"] = time.monotonic() - started

    started = time.monotonic()
    finished = {
        r.name: [(shards / j.name, manifest["shards"][j.name]) for j in jobs if j.recipe == r.name]
        for r in recipes
    }
    profile = run / "weaknesses.json"
    weaknesses = read_weaknesses(profile) if profile.exists() else []
    samples = finish(
        finished,
        recipes,
        run / "dataset",
        lambda found: dataset_card(found, settings, recipes, weaknesses, reports),
    )
    seconds["dedupe, weights and dataset"] = time.monotonic() - started
    if all(s.dropped for s in samples):
        raise WorkError(f"no candidate was kept: {_why_none(samples, reports)}")
    progress("dataset", 1, 1)
    quarantined = manifest.get("quarantined", {})
    result = BuildSummary(summarise(samples, recipes), reports, seconds, tuple(redone), quarantined)
    row = {"recipes": result.recipes, "prompts": reports, "seconds": seconds, "quarantined": quarantined}
    write_atomic(run / "build.json", (json.dumps(row, indent=2) + "\n").encode())
    return result


def _make_shards(
    run: Path,
    manifest: dict[str, Any],
    jobs: Sequence[Job],
    who: Resources,
    redone: list[str],
    progress: Progress,
) -> list[Job]:
    """Make what is missing or torn; returns the jobs whose shards stand, in order.

    The manifest is saved after every shard. Raises ``WorkError`` when every prompt is quarantined.
    """
    split, quarantined = manifest.get("split", []), manifest.get("quarantined", {})
    jobs = [part for job in jobs for part in (_parts(job) if job.name in split else [job])]
    jobs = [job for job in jobs if len(job.prompts) > 1 or job.prompts[0].prompt not in quarantined]
    missing = []
    for job in jobs:
        entry = manifest["shards"].get(job.name)
        if entry is not None:
            try:
                check_shard(Path(job.folder) / job.name, entry)
                continue
            except ShardError as error:
                redone.append(str(error))
        missing.append(job)
    done = len(jobs) - len(missing)
    progress("candidates", done, len(jobs))
    killers: list[Job] = []
    for job, result in run_stages(stages(who), missing, who.address, run / "marks", who.timeout):
        if isinstance(result, Killed):
            killers.append(job)
            continue
        manifest["shards"][job.name] = result
        save_manifest(run, manifest)
        done += 1
        progress("candidates", done, len(jobs))
    if not killers:
        return jobs
    for job in killers:
        if len(job.prompts) == 1:
            quarantined[job.prompts[0].prompt] = f"{TRIES} workers died or hung on it ({job.name})"
        else:
            split = [*split, job.name]
    manifest |= {"split": split, "quarantined": quarantined}
    save_manifest(run, manifest)
    return _make_shards(run, manifest, jobs, who, redone, progress)


def _parts(job: Job) -> list[Job]:
    """One job for each prompt of a job."""
    stem = job.name.removesuffix(".parquet")
    return [replace(job, name=f"{stem}.{i}.parquet", prompts=(p,)) for i, p in enumerate(job.prompts)]


def preview(recipes: Sequence[Recipe], model: str, llm: str, n: int, seed: int = 0) -> list[Sample]:
    """``n`` prompts of the recipes through every stage up to the weights, nothing written."""
    writer = load_llm(llm)
    recipes = resolved(recipes, model)
    vocabulary = VOCABULARIES[vocabulary_of(model)]
    evaluation = EvaluationIndex(evaluation_for(vocabulary))
    maker = ShardMaker()
    samples: list[Sample] = []
    for i, recipe in enumerate(recipes):
        share = n // len(recipes) + (i < n % len(recipes))
        if share:
            written = write_recipe(recipe, vocabulary, writer, share, seed, evaluation, {})[0]
            job = Job("preview", recipe.name, recipe.model_dump(mode="json"), tuple(written), model, llm, "")
            samples += weigh(maker.samples(job), recipe)
    return samples


def _check_names(recipes: Sequence[Recipe], model: str) -> None:
    """Refuse what can be refused without loading anything: a typo must not leave a run directory."""
    from datagen.models import MODELS
    from rewards import REWARDS

    if twice := [name for name, n in Counter(r.name for r in recipes).items() if n > 1]:
        raise InputError(f"recipe {twice[0]!r} is given twice; a run holds one recipe of a name")
    if model not in MODELS and ":" not in model and not Path(model).is_dir():
        raise UnknownName("model", model, MODELS)
    for recipe in recipes:
        for name in recipe.reward_names:
            try:
                resolve("reward", name, REWARDS)
            except InputError as error:
                raise RecipeError(f"recipe {recipe.name!r}: rewards: {error}") from error


def resolved(recipes: Sequence[Recipe], model: str) -> list[Recipe]:
    """The recipes as they are for the model's vocabulary, all names in them checked.

    Raises ``RecipeError`` for one that does not serve it, or whose reward judges only drawn scenes.
    """
    _check_names(recipes, model)
    vocabulary = vocabulary_of(model)
    out = []
    for recipe in recipes:
        if not recipe.serves(vocabulary):
            raise RecipeError(
                f"recipe {recipe.name!r} serves models that know the vocabulary {', '.join(recipe.vocabularies)}; "
                f"model {model!r} knows {vocabulary}"
            )
        out.append(recipe.for_vocabulary(vocabulary))
        blind = [name for name in out[-1].reward_names if name in SCENES_ONLY]
        if vocabulary != "scenes" and blind:
            raise RecipeError(
                f"recipe {recipe.name!r}: reward {blind[0]!r} judges drawn scenes, and model {model!r} knows "
                f"{vocabulary}; name others under vocabularies.{vocabulary}.rewards"
            )
    _check_names(out, model)
    return out


def evaluation_for(vocabulary: Vocabulary, against: Sequence[Path] = ()) -> Evaluation:
    """The suite of the vocabulary and the prompts of the files. Raises ``InputError`` naming a bad file."""
    evaluation = evaluation_of(vocabulary.name)
    for path in against:
        evaluation = evaluation.with_prompts(read_prompts(path), vocabulary)
    return evaluation


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


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


def write_recipe(
    recipe: Recipe,
    vocabulary: Vocabulary,
    writer: LLM,
    n: int,
    seed: int,
    evaluation: EvaluationIndex,
    said: dict[str, str],
) -> tuple[list[Sample], dict[str, Any]]:
    """``n`` prompts of one recipe, none near another or near evaluation, and the report on them.

    ``said`` holds the build's other prompts, and is added to.
    """
    guard = PromptGuard(evaluation, recipe.dedupe, n, said)
    result = write_prompts(recipe, vocabulary, writer, n, seed, guard=guard)
    kept = list(result.samples)
    texts = [s.prompt for s in kept]
    near = sum(count for cause, count in result.rejected.items() if cause.startswith(NEAR_DUPLICATE))
    return kept, {
        "asked": n,
        "kept": len(kept),
        "attempts": result.attempts,
        "acceptance": result.acceptance,
        "rejected": result.rejected,
        "contaminated": {cause: count for cause, count in result.rejected.items() if cause in OVERLAPS},
        "near_duplicates": near,
        "skipped": result.skipped,
        "asked_back": result.asked_back,
        "wordings": result.wordings,
        "targets": len({s.target.key for s in kept}),
        "distinct_1": distinct_n(texts, 1),
        "distinct_2": distinct_n(texts),
        "self_similarity": self_similarity(texts),
        "dropped": [asdict(d) for d in guard.survivors()],
    }


def _prompts(
    run: Path,
    manifest: dict[str, Any],
    recipes: Sequence[Recipe],
    vocabulary: Vocabulary,
    evaluation: Evaluation,
    llm: str,
    seed: int,
    redone: list[str],
    progress: Progress,
) -> tuple[dict[str, list[Sample]], dict[str, dict]]:
    """Written once and kept: an LLM may not repeat itself, a resumed build must.

    The manifest holds their checksum. Prompts that are not those are written anew and named in
    ``redone``; if other ones come out, the shards rendered from the old ones are not used either.
    """
    path = run / "prompts.json"
    data = path.read_bytes() if path.exists() else b""
    if hashlib.sha256(data).hexdigest() == manifest.get("prompts"):
        saved = json.loads(data)
        return {k: [from_row(r) for r in rows] for k, rows in saved["prompts"].items()}, saved["reports"]
    if "prompts" in manifest:
        redone.append(f"{path}: torn, changed or missing (checksum differs)")
    writer = load_llm(llm)
    index = EvaluationIndex(evaluation)
    said: dict[str, str] = {}
    prompts: dict[str, list[Sample]] = {}
    reports: dict[str, dict] = {}
    for i, recipe in enumerate(recipes):
        progress("prompts", i, len(recipes))
        prompts[recipe.name], reports[recipe.name] = write_recipe(
            recipe, vocabulary, writer, recipe.prompts.count, seed, index, said
        )
    progress("prompts", len(recipes), len(recipes))
    release_llms()  # the unified model wants the memory next
    row = {"prompts": {k: [to_row(s) for s in v] for k, v in prompts.items()}, "reports": reports}
    data = json.dumps(row).encode()
    write_atomic(path, data)
    digest = hashlib.sha256(data).hexdigest()
    if digest != manifest.get("prompts"):
        manifest["shards"].clear()
    manifest["prompts"] = digest
    save_manifest(run, manifest)
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
