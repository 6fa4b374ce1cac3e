"""The command line: parses, calls, prints. No logic, and nothing heavy until a command runs."""

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from datagen.errors import DatagenError, InputError

app = typer.Typer(
    help="Find where a text-to-image model is weak, write the data that fixes it, post-train on it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
DEFAULT = Path("runs/default")
INTERRUPTED = 130
Run = Annotated[Path, typer.Option("--run", help="the run directory that all commands share")]
Model = Annotated[str, typer.Option(help="a model's name, or a checkpoint folder")]
Json = Annotated[bool, typer.Option("--json", help="print JSON for a program")]
Force = Annotated[bool, typer.Option("--force", help="overwrite what stands")]
Seed = Annotated[int, typer.Option(help="every random choice follows from it")]
Cfg = Annotated[float | None, typer.Option(help="guidance scale; 1 draws without, default the model's own")]


@app.command("eval")
def eval_(
    suite: Annotated[str, typer.Option(help="the prompts to evaluate on")] = "scenes",
    model: Model = "pocket",
    run: Run = DEFAULT,
    out: Annotated[Path | None, typer.Option(help="results file; default RUN/eval/before.jsonl")] = None,
    per_category: Annotated[int, typer.Option(min=1, help="prompts a category")] = 60,
    images: Annotated[int, typer.Option(min=1, help="images a prompt")] = 4,
    cfg: Cfg = None,
    workers: Annotated[int, typer.Option(min=0, help="Ray workers; 0 runs in this process")] = 0,
    force: Force = False,
    trace: Annotated[
        bool, typer.Option("--trace/--no-trace", help="think first, or draw from the prompt")
    ] = True,
    as_json: Json = False,
) -> None:
    """Generate images for a suite, judge them, write a results file.

    Example: datagen eval --suite scenes --model pocket
    """
    from datagen.loop import evaluate_to, recipes_by_weakness
    from datagen.weaknesses import find_weaknesses

    path = out or run / "eval" / "before.jsonl"
    if path.exists() and not force:
        raise InputError(f"{path} exists; --force makes it again")
    path.unlink(missing_ok=True)
    with _Progress() as progress:
        rows = evaluate_to(path, model, suite, per_category, images, cfg, workers, progress, trace)
    _print_weaknesses(find_weaknesses(rows, recipes=recipes_by_weakness()), as_json, f"{path}")


@app.command()
def weaknesses(
    from_eval: Annotated[
        list[Path] | None, typer.Option("--from-eval", help="results file; repeatable")
    ] = None,
    format: Annotated[str | None, typer.Option(help="force a reader")] = None,
    target: Annotated[
        list[str] | None, typer.Option(help="score to reach, or NAME=SCORE; default the model's own mean")
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option("--map", help="category=COLUMN,score=COLUMN,prompt=COLUMN of any CSV or JSONL"),
    ] = None,
    of: Annotated[str | None, typer.Option(help="which model, where a file holds several")] = None,
    benchmark: Annotated[
        list[Path] | None, typer.Option(help="the benchmark's own data, e.g. geneval2_data.jsonl; repeatable")
    ] = None,
    second_judge: Annotated[Path | None, typer.Option(help="the same images by another judge")] = None,
    floor: Annotated[float, typer.Option(help="least share of the budget of a weakness")] = 0.05,
    cap: Annotated[float, typer.Option(help="greatest share")] = 0.6,
    run: Run = DEFAULT,
    as_json: Json = False,
) -> None:
    """Rank the weaknesses in results of any benchmark: score, interval, gap, budget, recipe.

    Example: datagen weaknesses --from-eval results.jsonl --target 0.9
    """
    from datagen.evals import stream_all
    from datagen.evals.mapped import parse_map
    from datagen.loop import recipes_by_weakness, yields_of
    from datagen.weaknesses import find_weaknesses, parse_targets, write_weaknesses

    files = [(f, format) for f in from_eval or [run / "eval" / "before.jsonl"]]
    options = parse_map(columns or []) | ({"of": of} if of else {})
    found = find_weaknesses(
        stream_all(files, options, benchmark or ()),
        parse_targets(target or []),
        recipes_by_weakness(),
        yields_of(run),
        floor,
        cap,
    )
    if second_judge:
        from datagen.evals import merge
        from datagen.second_judge import suspect

        rows, others = (
            merge(files, options, benchmark or ()),
            merge([(second_judge, None)], options, benchmark or ()),
        )
        found = suspect(found, rows, others)
    write_weaknesses(run / "weaknesses.json", found)
    _print_weaknesses(found, as_json, f"{run / 'weaknesses.json'}")


@app.command()
def build(
    recipe: Annotated[
        list[str] | None, typer.Option("--recipe", help="name or YAML path; repeatable")
    ] = None,
    from_weaknesses: Annotated[
        bool, typer.Option("--from-weaknesses", help="recipes and budget from RUN/weaknesses.json")
    ] = False,
    prompts: Annotated[int | None, typer.Option(min=1, help="prompts: a recipe, or in all by budget")] = None,
    candidates: Annotated[int | None, typer.Option(min=1, help="candidates a prompt")] = None,
    model: Model = "pocket",
    llm: Annotated[str, typer.Option(help="who writes the prompts")] = "smollm2",
    workers: Annotated[int, typer.Option(min=0, help="Ray workers; 0 runs in this process")] = 0,
    ray_address: Annotated[str | None, typer.Option(help="join this Ray cluster")] = None,
    model_gpus: Annotated[
        float | None, typer.Option(min=0, help="GPUs of each worker; default 1 where there are any")
    ] = None,
    reward_workers: Annotated[
        int, typer.Option(min=0, help="score in workers of their own; 0 scores where the model draws")
    ] = 0,
    reward_gpus: Annotated[float | None, typer.Option(min=0, help="GPUs of each of those")] = None,
    llm_workers: Annotated[
        int, typer.Option(min=0, help="write prompts in workers of their own; 0 writes in this process")
    ] = 0,
    llm_gpus: Annotated[float, typer.Option(min=0, help="GPUs of each of those")] = 0.0,
    timeout: Annotated[
        float, typer.Option(min=1, help="seconds a prompt may take before its worker is replaced")
    ] = 600.0,
    batch: Annotated[int, typer.Option(min=1, help="candidates rendered at once; rounds differently")] = 64,
    seed: Seed = 0,
    preview: Annotated[int, typer.Option(min=0, help="show this many prompts, write nothing")] = 0,
    against: Annotated[
        list[Path] | None, typer.Option(help="evaluation prompts the build must not overlap; repeatable")
    ] = None,
    run: Run = DEFAULT,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Prompts, traces, candidates, scores, dedupe, weights: a weighted dataset. Run again to resume.

    Example: datagen build --recipe counting --recipe position
    """
    from datagen import pipeline
    from datagen.loop import choose
    from datagen.recipe import load_recipe
    from datagen.weaknesses import read_weaknesses

    if from_weaknesses == bool(recipe):
        raise InputError("give either --recipe NAME or --from-weaknesses")
    if from_weaknesses:
        recipes = choose(read_weaknesses(run / "weaknesses.json"), 99, prompts or 240, candidates)
    else:
        recipes = []
        for name in recipe or []:
            one = load_recipe(name)
            count = one.prompts.model_copy(update={"count": prompts} if prompts else {})
            k = one.candidates.model_copy(update={"k": candidates} if candidates else {})
            recipes.append(one.model_copy(update={"prompts": count, "candidates": k}))
    if preview:
        for s in pipeline.preview(recipes, model, llm, preview, seed):
            weights = f"weights text {s.text_weight:.2f} image {s.image_weight:.2f}"
            print(f"{s.prompt}\n  trace: {s.trace}\n  reward {s.reward} {weights} ({s.transition})")
        return
    with _Progress() as progress:
        who = pipeline.Resources(
            workers, model_gpus, reward_workers, reward_gpus, ray_address, timeout, llm_workers, llm_gpus
        )
        made = pipeline.build(
            run, recipes, model, llm, workers, seed, ray_address, force, progress, against or (), who, batch
        )
    if as_json:
        print(json.dumps(asdict(made), indent=2))
        return
    from datagen.console import percent, table

    for line in made.redone:
        print(f"made again: {line}", file=sys.stderr)
    for prompt, why in made.quarantined.items():
        print(f"quarantined: {prompt!r}: {why}", file=sys.stderr)
    table(
        f"{run / 'dataset'}: {made.kept} of {made.candidates} candidates kept",
        ("recipe", "prompts", "acceptance", "wordings", "pass rate", "kept", "text ESS", "image ESS"),
        [
            (
                name, r["prompts"], percent(made.prompts[name]["acceptance"]), made.prompts[name]["wordings"],
                "unscored" if r["pass_rate"] is None else percent(r["pass_rate"]), r["kept"],
                f"{r['text_ess']:.0f}", f"{r['image_ess']:.0f}",
            )
            for name, r in made.recipes.items()
        ],
    )  # fmt: skip


@app.command()
def train(
    run: Run = DEFAULT,
    model: Model = "pocket",
    data: Annotated[Path | None, typer.Option(help="dataset folder; default RUN/dataset")] = None,
    weight: Annotated[str, typer.Option(help="text,image / text / image / none (plain SFT)")] = "text,image",
    epochs: Annotated[float, typer.Option(min=0.01)] = 3.0,
    steps: Annotated[int | None, typer.Option(min=1, help="instead of epochs")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="samples at once")] = 16,
    accumulate: Annotated[int, typer.Option(min=1, help="batches a step")] = 1,
    text_lr: Annotated[
        float | None, typer.Option(help="rate of the text expert; default by the model's size")
    ] = None,
    image_lr: Annotated[
        float | None, typer.Option(help="rate of the generation expert; default by the model's size")
    ] = None,
    lora: Annotated[
        int | None,
        typer.Option(min=0, help="LoRA rank; 0 trains all; default 16 above 1 B parameters, else 0"),
    ] = None,
    optimizer: Annotated[str, typer.Option(help="adamw / adamw8bit")] = "adamw",
    ema: Annotated[float, typer.Option(min=0, max=1, help="decay of the averaged weights; 0 off")] = 0.98,
    reference_penalty: Annotated[
        float, typer.Option(min=0, help="weight of the velocity's distance to the untrained model's")
    ] = 0.0,
    pack: Annotated[
        bool | None,
        typer.Option("--pack/--no-pack", help="rows without padding; default above 1 B parameters"),
    ] = None,
    shard: Annotated[bool, typer.Option("--shard", help="FSDP2 over the processes of torchrun")] = False,
    report_to: Annotated[str, typer.Option(help="tensorboard,trackio,wandb: beside log.jsonl")] = "",
    save_steps: Annotated[int, typer.Option(min=1, help="steps between checkpoints")] = 50,
    eval_every: Annotated[int, typer.Option(min=0, help="steps between evaluations; 0 never")] = 0,
    suite: Annotated[str, typer.Option(help="what --eval-every evaluates on")] = "scenes",
    seed: Seed = 0,
    resume: Annotated[bool, typer.Option("--resume", help="go on from the last checkpoint")] = False,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Reward-weighted training on the run's dataset.

    Example: datagen train --weight text,image
    """
    from datagen.loop import evaluation_hook
    from trainer import TrainConfig, parse_weight
    from trainer import train as train_model

    out = run / "model"
    if (out / "training.json").exists() and not force and not resume:
        raise InputError(f"{out} exists; --force trains again")
    config = TrainConfig(
        data=data or run / "dataset",
        out=out,
        model=model,
        weight=parse_weight(weight),
        epochs=epochs,
        steps=steps,
        batch_size=batch_size,
        accumulate=accumulate,
        text_lr=text_lr,
        image_lr=image_lr,
        lora=lora,
        optimizer=optimizer,  # type: ignore[arg-type]  # refused with the valid names
        ema=ema,
        reference_penalty=reference_penalty,
        pack=pack,
        shard=shard,
        save_steps=save_steps,
        report_to=tuple(name.strip() for name in report_to.split(",") if name.strip()),
        eval_every=eval_every,
        seed=seed,
        resume=resume,
    )
    with _Progress() as progress:
        done = train_model(config, progress, evaluation_hook(suite) if eval_every else None)
    if as_json:
        print(json.dumps({**asdict(done), "path": str(done.path)}))
    else:
        print(f"{done.steps} steps on {done.samples} samples in {done.seconds:.0f} s: {done.path}")


@app.command()
def compare(before: Path, after: Path, as_json: Json = False) -> None:
    """Paired difference for each category, with interval and verdict.

    Example: datagen compare runs/default/eval/before.jsonl runs/default/eval/after.jsonl
    """
    from datagen.compare import compare as compare_rows
    from datagen.evals import read_results

    found = compare_rows(read_results(before), read_results(after))
    if as_json:
        print(json.dumps([asdict(c) for c in found], indent=2))
    else:
        _print_comparison(found)


@app.command()
def run(
    run: Run = DEFAULT,
    model: Model = "pocket",
    llm: Annotated[str, typer.Option(help="who writes the prompts")] = "smollm2",
    per_category: Annotated[int, typer.Option(min=1, help="evaluation prompts a category")] = 60,
    images: Annotated[int, typer.Option(min=1, help="images a prompt")] = 4,
    weak: Annotated[int, typer.Option(min=1, help="how many weaknesses to build for")] = 2,
    prompts: Annotated[int, typer.Option(min=1, help="prompts to build, split by budget")] = 240,
    rehearsal: Annotated[
        float, typer.Option(min=0, max=1, help="share of broad prompts beside them, against forgetting")
    ] = 0.1,
    candidates: Annotated[int | None, typer.Option(min=1, help="candidates a prompt")] = None,
    workers: Annotated[int, typer.Option(min=0, help="Ray workers; 0 runs in this process")] = 0,
    epochs: Annotated[float, typer.Option(min=0.01)] = 3.0,
    cfg: Cfg = None,
    seed: Seed = 0,
) -> None:
    """The whole loop: eval, weaknesses, build, train, eval, compare, report.

    Example: datagen run
    """
    from datagen.console import percent
    from datagen.loop import LoopConfig, run_loop

    config = LoopConfig(
        run, model, "scenes", llm, per_category, images, weak, prompts, rehearsal, candidates, workers, cfg,
        epochs, seed,
    )  # fmt: skip
    with _Progress() as progress:
        done = run_loop(config, progress)
    _print_comparison(done.comparisons)
    opened = [f"{percent(r.get('model', 0.0))}%" for r in (done.before, done.after)]
    print(f"opens the image by itself: {opened[0]} before, {opened[1]} after")
    print(f"time: {', '.join(f'{k} {v:.0f} s' for k, v in done.seconds.items())}")
    print(f"report: {done.report}")


@app.command()
def report(run: Run = DEFAULT) -> None:
    """Write the run's HTML page.

    Example: datagen report --run runs/default
    """
    from datagen.report import write_report

    print(write_report(run))


@app.command()
def calibrate(
    labels: Annotated[Path, typer.Argument(help="JSONL: image, prompt, label (1 right, 0 wrong), target")],
    reward: Annotated[list[str], typer.Option("--reward", help="name or module:name; repeatable")],
    option: Annotated[
        list[str] | None,
        typer.Option("--option", help="REWARD.FIELD=VALUE, as in a recipe's rewards.options"),
    ] = None,
    precision: Annotated[
        float | None, typer.Option(min=0, max=1, help="least threshold that reaches it; default the best F1")
    ] = None,
    as_json: Json = False,
) -> None:
    """Fit a reward's threshold to labelled pictures; print precision, recall and agreement.

    Example: datagen calibrate labels.jsonl --reward vqa --reward objects
    """
    from datagen.calibrate import run_calibration
    from datagen.console import percent, table
    from rewards import load_reward, parse_options

    options = parse_options(option or [], reward)
    found, shared = run_calibration(labels, {r: load_reward(r, options.get(r)) for r in reward}, precision)
    if as_json:
        print(
            json.dumps(
                {"rewards": [asdict(c) for c in found], "agreement": [asdict(a) for a in shared]}, indent=2
            )
        )
        return

    def interval(e: Any) -> str:
        return "none picked" if e is None else f"{percent(e.mean)} [{percent(e.low)}, {percent(e.high)}]"

    table(
        f"{labels}: precision and recall cross-validated over prompts, 95% intervals",
        ("reward", "threshold", "precision", "recall", "AUC", "rows", "right", "unscored"),
        [
            (
                c.reward, f"{c.threshold:.3f}", interval(c.precision), interval(c.recall), f"{c.auc:.3f}", c.n,
                c.right, c.unscored,
            )
            for c in found
        ],
    )  # fmt: skip
    table(
        "Agreement, each at its threshold",
        ("one", "other", "agree", "kappa"),
        [(a.one, a.other, interval(a.share), f"{a.kappa:.2f}") for a in shared],
    )
    gates = ", ".join(f"{c.reward}: {c.threshold:.3g}" for c in found)
    print(f"in a recipe: rewards: {{gates: {{image: {{{gates}}}}}}}")


@app.command()
def alarms(
    run: Run = DEFAULT,
    judge: Annotated[str, typer.Option(help="a reward that no recipe of the run weighs by")] = "judge",
    samples: Annotated[int, typer.Option(min=1, help="candidates that it looks at, whole groups")] = 2000,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Is a reward being gamed? A held-out judge and hygiene against the weights and the training.

    Example: datagen alarms --run runs/default --judge judge
    """
    from datagen.monitor import write_alarms

    with _Progress() as progress:
        found = write_alarms(run, judge, samples, seed, progress)
    if as_json:
        print(json.dumps(found, indent=2))
        return
    from datagen.console import table

    for where, title in (("weights", "Moved by the weights"), ("stages", "Moved by training")):
        if found[where]:
            table(
                f"{title}, in sd, with 95% intervals",
                ("figure", "kind", "before", "after", "moved", "interval"),
                [
                    (
                        s["name"], s["kind"], f"{s['before']:.3f}", f"{s['after']:.3f}", f"{s['sd']:+.2f}",
                        f"{s['low']:+.2f} to {s['high']:+.2f}",
                    )
                    for s in found[where]
                ],
            )  # fmt: skip
    if found["unjudged"]:
        print(f"{found['unjudged']} of {found['looked_at']} not judged by {judge}: {found['why_unjudged']}")
    for alarm in found["alarms"]:
        print(f"ALARM ({alarm['where']}): {alarm['message']}")
    print(f"{len(found['alarms'])} alarms: {run / 'alarms.json'}; datagen report shows the heaviest samples")


@app.command()
def publish(
    repo: Annotated[str, typer.Argument(help="USER/NAME on the Hub")],
    run: Run = DEFAULT,
    private: Annotated[bool, typer.Option("--private/--public", help="a first publish is private")] = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="show what would be uploaded")] = False,
) -> None:
    """Push the run's dataset with its card.

    Example: datagen publish USER/NAME --dry-run
    """
    from datagen.hub import publish as push

    for line in push(run / "dataset", repo, private, dry_run):
        print(line)


@app.command()
def merge(
    datasets: Annotated[list[Path], typer.Argument(help="run directories or dataset folders")],
    out: Annotated[Path, typer.Option(help="a run directory to make; its dataset/ holds the merge")],
    as_json: Json = False,
) -> None:
    """Merge datasets into one; near-duplicates across them are dropped, weights kept.

    Example: datagen merge runs/monday runs/tuesday --out runs/both
    """
    from datagen.console import table
    from datagen.merge import merge as join

    folders = [d / "dataset" if (d / "dataset").is_dir() else d for d in datasets]
    found = join(folders, out / "dataset")
    if as_json:
        print(json.dumps(found))
        return
    rows = [(name, r["prompts"], r["candidates"], r["kept"]) for name, r in found.items()]
    table(f"Merged into {out / 'dataset'}", ("recipe", "prompts", "candidates", "kept"), rows)


@app.command()
def recipes(
    name: Annotated[str | None, typer.Argument(help="show this one, resolved")] = None,
    new: Annotated[str | None, typer.Option(help="write a starting recipe of this name")] = None,
    from_weakness: Annotated[
        str | None, typer.Option(help="the weakness it is for: an id of weaknesses.json")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="where to write it; default NAME.yaml here")] = None,
    run: Run = DEFAULT,
    force: Force = False,
) -> None:
    """List the recipes, show one resolved, or start a new one from a weakness.

    Example: datagen recipes --new four_benches --from-weakness geneval/counting/count=4
    """
    from datagen.recipe import list_recipes, load_recipe

    if new or from_weakness:
        from datagen.new_recipe import draft, find, write_draft
        from datagen.weaknesses import read_weaknesses

        if not (new and from_weakness):
            raise InputError("give both --new NAME and --from-weakness ID")
        path = out or Path(f"{new}.yaml")
        write_draft(path, draft(find(read_weaknesses(run / "weaknesses.json"), from_weakness), new), force)
        print(f"{path}: edit it, then datagen build --recipe {path} --preview 4")
        return
    if name:
        print(load_recipe(name).to_yaml(), end="")
        return
    for known in list_recipes():
        loaded = load_recipe(known)
        print(f"{known:<18} {', '.join(loaded.vocabularies) or 'any':<13} {loaded.description}")


@app.command()
def doctor(as_json: Json = False) -> None:
    """Which models, LLMs and rewards work here, which models fit which devices, and the command for each.

    Example: datagen doctor
    """
    from datagen.doctor import check, needs

    works, sizes = check(), needs()
    if as_json:
        print(json.dumps({"works": works, "needs": [asdict(n) for n in sizes]}, indent=2))
        return
    for kind, name, does, hint in works:
        print(f"{kind:<8} {name:<10} {'works' if does else 'no':<6} {hint}")
    print("\nMemory, worked out from the configs (bfloat16; adapters of rank 16; activations recomputed):")
    for n in sizes:
        here = f"here {n.batch} at once" if n.here else "not here"
        print(
            f"{n.model:<8} {n.parameters:>7}  {n.task:<9} {n.gigabytes:>7.1f} GB  {n.device:<20} {here:<16} {n.command}"
        )


def _print_weaknesses(found: list[Any], as_json: bool, path: str) -> None:
    if as_json:
        print(json.dumps([asdict(w) for w in found], indent=2))
        return
    from datagen.weakness_table import print_weaknesses

    print_weaknesses(found, path)


def _print_comparison(found: list[Any]) -> None:
    from datagen.console import percent, points, table

    table(
        "Before and after, paired by prompt",
        ("category", "prompts", "before", "after", "difference", "95% interval", "p (Holm)", "verdict"),
        [
            (
                c.category, c.prompts, percent(c.before), percent(c.after), points(c.difference),
                f"{points(c.low)} to {points(c.high)}", f"{c.p:.3f}", c.verdict,
            )
            for c in found
        ],
    )  # fmt: skip


class _Progress:
    """Progress for the length of a ``with``."""

    def __enter__(self) -> Any:
        from datagen.console import progress

        update, self.stop = progress()
        return update

    def __exit__(self, *error: object) -> None:
        self.stop()


def main() -> None:
    """Exit 0 done, 1 the work failed, 2 the call or its input was wrong, 130 stopped."""
    argv = [a for a in sys.argv[1:] if a != "--debug"]
    debug = len(argv) < len(sys.argv) - 1
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        code = app(argv, standalone_mode=False)
    except DatagenError as error:
        if debug:
            raise
        print(f"datagen: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, InputError) else 1)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except Exception as error:
        if not hasattr(error, "format_message"):  # not one of click's usage errors: a bug
            raise
        print(f"datagen: {error.format_message()}", file=sys.stderr)
        sys.exit(2)
    if code == INTERRUPTED:  # typer turns Ctrl-C into this exit code
        print("datagen: stopped; run the same command to resume", file=sys.stderr)
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
