"""``datagen run``: eval, weaknesses, build, train, eval again, compare, report. Resumes stage by stage.

Before training, the model's guidance scale is the recipes'; after it, the same: one scale for both,
so that a gain is not a change of sampler. Stages whose output stands are skipped. A turn ``after`` another
starts from its model, spends its budget by what that turn moved, and trains on the data of both.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from datagen.compare import Comparison, compare, transition_rate
from datagen.console import say
from datagen.errors import InputError
from datagen.evals import EvalRow, read_results
from datagen.models.base import GenerationConfig
from datagen.models.vocabulary import vocabulary_of
from datagen.recipe import Recipe, load_recipe, recipes_by_weakness
from datagen.shards import write_atomic
from datagen.turns import LOOP, model_of, moved_by, seed_after, with_earlier
from datagen.weaknesses import Weakness, find_weaknesses, write_weaknesses

Progress = Callable[[str, int, int], None]
JUDGES = {  # suite -> the reward that evaluates it
    "scenes": "judge", "dense": "dense_judge", "knowledge": "judge", "text": "letters", "geneval_style": "objects",
}  # fmt: skip


def suite_for(model: str) -> str:
    """What a model is evaluated on by default: it depends on what it draws."""
    from datagen.suites import SUITE_OF

    return SUITE_OF.get(vocabulary_of(model), SUITE_OF["coco"])


@dataclass(frozen=True)
class LoopConfig:
    """The size of one turn of the loop. ``weak``: how many of the weakest categories are built for."""

    run: Path
    model: str = "pocket"
    suite: str = "scenes"
    llm: str = "template"
    per_category: int = 60
    images: int = 4
    weak: int = 2
    prompts: int = 240  # over all targeted recipes, split by budget
    rehearsal: float = 0.1  # prompts of the recipe broad beside them, as a share of theirs
    candidates: int | None = None
    workers: int = 0
    cfg: float | None = None
    epochs: float = 3.0
    batch_size: int = 16  # of training
    accumulate: int = 1
    seed: int = 0
    ray_address: str | None = None
    after: Path | None = None  # the run whose turn this one follows; ``model`` is then its


def evaluate_to(
    out: Path,
    model: str,
    suite: str,
    per_category: int,
    images: int,
    cfg: float | None,
    workers: int,
    progress: Progress,
    trace: bool = True,
    address: str | None = None,
    force: bool = False,
    again: bool = False,
) -> list[EvalRow]:
    """Evaluate ``model`` on ``suite`` into ``out``; an existing result is read instead, unless ``force``.

    ``trace`` False draws from the prompt alone: the other baseline, since thinking can hurt. Raises
    ``InputError`` for a result of other settings or weights, which with ``again`` is made again.
    """
    from datagen.evaluate import evaluate, key_file, key_of
    from datagen.models import check_name
    from datagen.suites import GRADED, load_suite

    check_name(model)
    prompts, judge, graded = load_suite(suite, per_category), JUDGES.get(suite, "judge"), suite in GRADED
    config = GenerationConfig(trace="self" if trace else "none", force=True, cfg=cfg)
    if out.exists() and not force:
        made = key_file(out)  # results of another's making have none
        if not made.exists() or made.read_text().strip() == key_of(
            model, prompts, judge, images, config, graded
        ):
            return read_results(out, "geneval")
        if not again:
            raise InputError(
                f"{out}: was made with other settings, or of other weights than {model} has now; move it away, "
                "or use another --run"
            )
    out.parent.mkdir(parents=True, exist_ok=True)
    return evaluate(model, prompts, judge, out, images, config, workers, progress, graded, address)


def evaluation_hook(suite: str) -> Callable[[Path, int], dict[str, float]]:
    """For the trainer: scores a checkpoint on ten prompts a category of ``suite``, one image each."""

    def hook(folder: Path, step: int) -> dict[str, float]:
        out = folder.with_suffix(".jsonl")
        rows = evaluate_to(  # again: a training that is resumed repeats steps
            out, str(folder), suite, 10, 1, None, 0, lambda stage, done, total: None, again=True
        )
        scores: dict[str, list[float]] = {}
        for row in rows:
            if row.score is not None:
                scores.setdefault(row.category, []).append(row.score)
        return {category: sum(found) / len(found) for category, found in scores.items()}

    return hook


def choose(
    weaknesses: Sequence[Weakness],
    weak: int,
    prompts: int,
    candidates: int | None = None,
    rehearsal: float = LoopConfig.rehearsal,
) -> list[Recipe]:
    """The recipes of the ``weak`` weakest categories, prompts shared by budget, and some of ``broad``.

    Without that rehearsal the pocket model forgets, after traces of a single object, the very opening
    token it learns after the others (97.5% instead of 100% of held-out images).
    Raises ``InputError`` when no weakness has a recipe.
    """
    budgets: dict[str, float] = {}  # sub-skills of one category share its recipe
    for w in weaknesses:
        if w.recipe and w.budget > 0:
            budgets[w.recipe] = budgets.get(w.recipe, 0.0) + w.budget
    if not budgets:
        why = "nothing to build (datagen weaknesses --target 0.9 sets a higher target)"
        why = next((w.advice for w in weaknesses if w.advice), why)
        raise InputError(f"no category lies below the target and has a recipe; {why}")
    chosen = dict(list(budgets.items())[:weak])
    total = sum(chosen.values())
    counts = {name: max(8, round(prompts * budget / total)) for name, budget in chosen.items()}
    if (extra := round(rehearsal * prompts)) and "broad" not in counts:
        counts["broad"] = extra
    recipes = []
    for name, count in counts.items():
        recipe = load_recipe(name)
        sized = recipe.prompts.model_copy(update={"count": count})
        k = recipe.candidates.model_copy(update={"k": candidates} if candidates else {})
        recipes.append(recipe.model_copy(update={"prompts": sized, "candidates": k}))
    return recipes


@dataclass(frozen=True)
class LoopResult:
    comparisons: list[Comparison]
    before: dict[str, float]  # transition rates
    after: dict[str, float]
    seconds: dict[str, float]
    report: Path


def run_loop(config: LoopConfig, progress: Progress = lambda stage, done, total: None) -> LoopResult:
    """One turn of the loop in ``config.run``; run it again to resume.

    Raises ``InputError`` for a run begun with other settings, and for an ``after`` that has not ended.
    """
    from datagen.monitor import write_alarms
    from datagen.pipeline import Resources, build, refuse
    from datagen.report import write_report
    from trainer import TrainConfig, train

    run, earlier = config.run, config.after
    model = model_of(earlier) if earlier else config.model
    moved = moved_by(earlier) if earlier else {}
    refuse(config.llm, Resources(config.workers, address=config.ray_address))
    run.mkdir(parents=True, exist_ok=True)
    _same_settings(run, config)
    times = run / "timings.json"
    seconds: dict[str, float] = json.loads(times.read_text()) if times.exists() else {}

    def timed(stage: str, began: float) -> None:
        seconds[stage] = seconds.get(stage, 0.0) + time.monotonic() - began
        write_atomic(times, json.dumps(seconds, indent=2).encode())

    began = time.monotonic()
    size = (config.per_category, config.images, config.cfg, config.workers)
    at = config.ray_address
    before = evaluate_to(
        run / "eval" / "before.jsonl",
        model,
        config.suite,
        *size,
        _named(progress, "eval before"),
        address=at,
    )
    timed("eval before", began)
    weaknesses = find_weaknesses(before, recipes=recipes_by_weakness(), responses=moved)
    write_weaknesses(run / "weaknesses.json", weaknesses)

    began = time.monotonic()
    recipes = choose(weaknesses, config.weak, config.prompts, config.candidates, config.rehearsal)
    build(
        run,
        recipes,
        model,
        config.llm,
        config.workers,
        seed_after(earlier, config.seed) if earlier else config.seed,
        config.ray_address,
        progress=progress,
    )
    timed("build", began)

    began = time.monotonic()
    trained = run / "model"
    if not (trained / "training.json").exists():
        data = with_earlier(run, earlier) if earlier else run / "dataset"
        training = TrainConfig(
            data, trained, model, epochs=config.epochs, batch_size=config.batch_size,
            accumulate=config.accumulate, seed=config.seed,
        )  # fmt: skip
        started = any((trained / "trainer").glob("checkpoint-*/average.pt"))
        train(replace(training, resume=started), progress)
    timed("train", began)

    began = time.monotonic()
    after = evaluate_to(
        run / "eval" / "after.jsonl",
        str(trained),
        config.suite,
        *size,
        _named(progress, "eval after"),
        address=at,
        again=True,  # it may be of a model that was trained again since
    )
    timed("eval after", began)
    comparisons = compare(before, after)
    write_atomic(
        run / "comparison.json", (json.dumps([asdict(c) for c in comparisons], indent=2) + "\n").encode()
    )
    began = time.monotonic()
    judge = JUDGES.get(config.suite, "judge")
    if weighing := [r.name for r in recipes if judge in r.for_vocabulary(vocabulary_of(model)).reward_names]:
        say(f"no alarms: {judge} weighs in {weighing[0]}; datagen alarms --judge NAME looks with another")
    else:
        write_alarms(run, judge, seed=config.seed)
    timed("alarms", began)
    report = write_report(run)
    return LoopResult(comparisons, transition_rate(before), transition_rate(after), seconds, report)


def _named(progress: Progress, name: str) -> Progress:
    return lambda stage, done, total: progress(name, done, total)


def _same_settings(run: Path, config: LoopConfig) -> None:
    path = run / LOOP
    now = {k: v for k, v in asdict(config).items() if k not in ("run", "workers", "ray_address")}
    now["after"] = str(config.after.absolute()) if config.after else None
    if path.exists():
        usual = {f.name: f.default for f in fields(LoopConfig)}  # of what an older version did not write down
        before = usual | json.loads(path.read_text())
        if changed := [f"{k}: {before.get(k)} -> {v}" for k, v in now.items() if before.get(k) != v]:
            raise InputError(f"{run} was begun with other settings: {'; '.join(changed)}; use another --run")
    write_atomic(path, (json.dumps(now, indent=2) + "\n").encode())
