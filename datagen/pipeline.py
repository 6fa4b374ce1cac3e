"""The build, stage by stage: prompts, candidates, scores, dedupe, weights, dataset. Resumable.

Prompts are cheap and written first, then fixed in ``prompts.jsonl``; groups of prompts become shards
(fixed size, so the number of workers changes nothing) that are rendered and scored in parallel;
when all shards stand, dedupe and weights run over everything. A run directory remembers its
settings: resuming with others says what changed and stops. Workers write shards themselves, so on a
cluster the run directory lies on storage that every node shares.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from datagen.account import Account
from datagen.candidates import BATCH
from datagen.card import dataset_card
from datagen.checks import evaluation_for, judges_of, resolved, short_digest
from datagen.errors import InputError, UnknownName, WorkError
from datagen.finish import finish
from datagen.guard import EvaluationIndex
from datagen.llm import LLMS, load_llm
from datagen.making import Plan, Progress, Resources, check_quarantined, make_shards, missing
from datagen.manifest import open_manifest
from datagen.models import weights_of
from datagen.models.vocabulary import vocabulary_of
from datagen.prompting import build_prompts, write_recipe
from datagen.recipe import Recipe
from datagen.sample import Sample
from datagen.shards import write_atomic
from datagen.stages import Job, Make
from datagen.targets import VOCABULARIES
from datagen.weakness import read_weaknesses
from datagen.weights import weigh
from datagen.writers import Writers, opened


@dataclass(frozen=True)
class BuildSummary:
    """What a build did. ``recipes``: ``Account.table``; ``seconds`` by stage; ``prompts`` by recipe.

    ``redone`` names what was damaged and made again; ``quarantined`` the prompts that killed workers.
    """

    recipes: dict[str, dict[str, Any]]
    prompts: dict[str, dict[str, Any]]
    seconds: dict[str, float] = field(default_factory=dict)
    redone: tuple[str, ...] = ()
    quarantined: dict[str, str] = field(default_factory=dict)  # prompt -> where and why

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
    batch: int = BATCH,
) -> BuildSummary:
    """Build ``run/dataset`` from recipes; run it again to resume.

    ``against`` are files of evaluation prompts that the build must not overlap, beside the suite of the
    model's vocabulary; ``resources`` says more than ``workers`` and ``ray_address`` about who works where;
    ``batch`` candidates are rendered at once. Raises ``InputError`` when a name is
    unknown (before anything is written) or ``run`` was begun with other settings, ``WorkError`` when
    nothing is left.
    """
    who = resources or Resources(workers, address=ray_address)
    refuse(llm, who)
    run = run.absolute()  # workers have working directories of their own
    recipes = resolved(recipes, model)
    vocabulary = VOCABULARIES[vocabulary_of(model)]
    evaluation = evaluation_for(vocabulary, against)
    settings: dict[str, Any] = {
        "recipes": {r.name: r.model_dump(mode="json") for r in recipes},
        "model": model,
        "llm": llm,
        "seed": seed,
    }
    if weights := weights_of(model):
        settings["weights"] = weights
    if against:
        settings["against"] = [f"{path.name} {short_digest(path)}" for path in against]
    if batch != BATCH:
        settings["batch"] = batch
    shards = run / "shards"
    try:
        for folder in (shards, run / "recipes"):
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{run}: cannot be a run directory: {error.strerror}; choose another --run"
        ) from error
    manifest = open_manifest(run, settings, force)
    seconds: dict[str, float] = {}
    for recipe in recipes:
        write_atomic(run / "recipes" / f"{recipe.name}.yaml", recipe.to_yaml().encode())

    started = time.monotonic()
    redone = list(manifest.damage)
    writer = opened(llm, Writers(who.llm_workers, who.llm_gpus, who.address, who.llm_batch, who.timeout))
    prompts = build_prompts(run, manifest, recipes, vocabulary, evaluation, seed, redone, progress, writer)
    reports = prompts.reports
    seconds["prompts"] = time.monotonic() - started

    started = time.monotonic()
    plan = Plan({r.name: r.model_dump(mode="json") for r in recipes}, prompts, model, llm, shards, batch)
    left = missing(plan, manifest, redone)
    total = sum(prompts.count(recipe.name) for recipe in recipes)
    for made in make_shards(run, plan, left, who, progress):
        manifest.record(made.name, made.sha256, [asdict(q) for q in made.quarantined])
        check_quarantined(manifest, total)
    seconds["candidates"] = time.monotonic() - started

    started = time.monotonic()
    finished = {
        r.name: [(shards / name, manifest.shards[name]) for name in plan.names_of(r.name)] for r in recipes
    }
    profile = run / "weaknesses.json"
    weaknesses = read_weaknesses(profile) if profile.exists() else []
    judges = judges_of(recipes)
    account = finish(
        finished,
        recipes,
        run / "dataset",
        lambda a: dataset_card(a, settings, weaknesses, reports, judges),
        who.workers,
        who.address,
        progress,
    )
    seconds["dedupe, weights and dataset"] = time.monotonic() - started
    if not account.kept:
        raise WorkError(f"no candidate was kept: {_why_none(account, reports)}")
    quarantined = {
        q["prompt"]: f"{q['stage']}: {q['reason']}"
        for name in plan.names
        for q in manifest.quarantined.get(name, ())
    }
    result = BuildSummary(account.table(), reports, seconds, tuple(redone), quarantined)
    row = {
        "recipes": result.recipes, "prompts": reports, "seconds": seconds, "quarantined": quarantined,
    }  # fmt: skip
    write_atomic(run / "build.json", (json.dumps(row, indent=2) + "\n").encode())
    return result


def refuse(llm: str, who: Resources) -> None:
    """What can be refused before anything is made. Raises ``InputError`` for a writer that is not known, and for options that would do nothing."""
    if (backend := llm.partition(":")[0]) not in LLMS:
        raise UnknownName("LLM", backend, LLMS)
    if who.reward_workers and not who.workers:
        raise InputError("--reward-workers are beside those that draw: give --workers, 1 or more")
    if who.address and not (who.workers or who.llm_workers):
        raise InputError("--ray-address: no worker is asked for; give --workers, 1 or more")


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
            written = write_recipe(recipe, vocabulary, writer, share, seed, evaluation)[0]
            job = Job("preview", recipe.name, recipe.model_dump(mode="json"), tuple(written), model, llm, "")
            make.load(job)
            samples += weigh(make(job), recipe)
    return samples


def _why_none(account: Account, reports: dict[str, dict]) -> str:
    """One line that says what took every candidate, or that there was no prompt to begin with."""
    if not account.candidates:
        causes = "; ".join(f"{k}: {r['rejected'] | r['contaminated']}" for k, r in reports.items())
        return f"no prompt was left to render ({causes})"
    first = f" (first: {account.unscored})" if account.unscored else ""
    counts = ", ".join(f"{n} {reason}" for reason, n in account.dropped.items())
    return f"every one was dropped: {counts}{first}"
