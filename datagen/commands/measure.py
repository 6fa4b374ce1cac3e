"""Commands that measure: ``eval``, ``weaknesses``, ``compare``, ``report``."""

import json
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from datagen.commands.common import (
    DEFAULT,
    Cfg,
    Force,
    Json,
    Model,
    Progress,
    Run,
    Suite,
    at,
    show_comparison,
    show_weaknesses,
)
from datagen.errors import InputError

Format = Annotated[str | None, typer.Option(help="force a reader")]
Columns = Annotated[
    list[str] | None,
    typer.Option("--map", help="category=COLUMN,score=COLUMN,prompt=COLUMN of any CSV or JSONL"),
]
Of = Annotated[str | None, typer.Option(help="which model, where a file holds several")]
Benchmark = Annotated[
    list[Path] | None, typer.Option(help="the benchmark's own data, e.g. geneval2_data.jsonl; repeatable")
]


def eval_(
    suite: Suite = None,
    model: Model = "pocket",
    run: Run = DEFAULT,
    out: Annotated[
        Path | None,
        typer.Option(help="results file; default RUN/eval/before.jsonl, after.jsonl for the model of RUN"),
    ] = None,
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
    from datagen.loop import evaluate_to, suite_for
    from datagen.recipe import recipes_by_weakness
    from datagen.weaknesses import find_weaknesses

    before, after = (run / "eval" / f"{name}.jsonl" for name in ("before", "after"))
    trained = Path(model.partition("?")[0]).resolve() == (run / "model").resolve()
    path = out or (after if trained else before)
    if path.exists() and not force:
        raise InputError(f"{path} exists; --force makes it again")
    with Progress() as progress:
        rows = evaluate_to(
            path,
            model,
            suite or suite_for(model),
            per_category,
            images,
            cfg,
            workers,
            progress,
            trace,
            force=force,
        )
    show_weaknesses(find_weaknesses(rows, recipes=recipes_by_weakness()), as_json, path, run)
    if not as_json:
        read = f"weaknesses --from-eval {shlex.quote(str(path))}" if out else "weaknesses"
        both = shlex.join(["compare", str(before), str(after)])
        print(f"\nNext: datagen {both if path == after and before.exists() else read + at(run)}")


def weaknesses(
    from_eval: Annotated[
        list[Path] | None, typer.Option("--from-eval", help="results file; repeatable")
    ] = None,
    format: Format = None,
    target: Annotated[
        list[str] | None, typer.Option(help="score to reach, or NAME=SCORE; default the model's own mean")
    ] = None,
    columns: Columns = None,
    of: Of = None,
    benchmark: Benchmark = None,
    second_judge: Annotated[Path | None, typer.Option(help="the same images by another judge")] = None,
    moved_by: Annotated[
        Path | None,
        typer.Option(help="an earlier run: budget follows what its prompts moved, by its results"),
    ] = None,
    before: Annotated[
        list[Path] | None, typer.Option(help="results from before that run; default its eval/before.jsonl")
    ] = None,
    floor: Annotated[float, typer.Option(help="least share of the budget of a weakness")] = 0.05,
    cap: Annotated[float, typer.Option(help="greatest share")] = 0.6,
    run: Run = DEFAULT,
    as_json: Json = False,
) -> None:
    """Rank the weaknesses in results of any benchmark. Score, interval, gap, budget, recipe.

    Example: datagen weaknesses --from-eval results.jsonl --target 0.9
    """
    from datagen.evals import merge, stream_all
    from datagen.evals.mapped import parse_map
    from datagen.recipe import recipes_by_weakness
    from datagen.turns import moved_in, yields_of
    from datagen.weaknesses import find_weaknesses, parse_targets, write_weaknesses

    if before and not moved_by:
        raise InputError("--before: name the run that came between with --moved-by")
    last = moved_by / "eval" / "after.jsonl" if moved_by else run / "eval" / "before.jsonl"
    files = [(f, format) for f in from_eval or [last]]
    options = parse_map(columns or []) | ({"of": of} if of else {})
    moved = {}
    if moved_by:
        first = [(b, format) for b in before or [moved_by / "eval" / "before.jsonl"]]
        moved = moved_in(moved_by, *(merge(some, options, benchmark or ()) for some in (first, files)))
    found = find_weaknesses(
        stream_all(files, options, benchmark or ()),
        parse_targets(target or []),
        recipes_by_weakness(),
        yields_of(run),
        floor,
        cap,
        moved,
    )
    if second_judge:
        from datagen.second_judge import suspect

        rows, others = (
            merge(files, options, benchmark or ()),
            merge([(second_judge, None)], options, benchmark or ()),
        )
        found = suspect(found, rows, others)
    write_weaknesses(run / "weaknesses.json", found)
    show_weaknesses(found, as_json, run / "weaknesses.json", run)


def compare(
    before: Path,
    after: Path,
    format: Format = None,
    columns: Columns = None,
    of: Of = None,
    benchmark: Benchmark = None,
    as_json: Json = False,
) -> None:
    """Pair two results: difference, interval and verdict.

    Example: datagen compare runs/default/eval/before.jsonl runs/default/eval/after.jsonl
    """
    from datagen.compare import compare as compare_rows
    from datagen.compare import unpaired
    from datagen.console import say
    from datagen.evals import read_results
    from datagen.evals.mapped import parse_map

    options = parse_map(columns or []) | ({"of": of} if of else {})
    old, new = (read_results(path, format, options, benchmark or ()) for path in (before, after))
    found = compare_rows(old, new)
    if as_json:
        print(json.dumps([asdict(c) for c in found], indent=2))
    else:
        show_comparison(found)
    for path, alone in zip((before, after), unpaired(old, new), strict=True):
        if alone:
            say(f"{path}: {alone} scored images have no partner and are left out")


def report(run: Run = DEFAULT) -> None:
    """Write the run's HTML page.

    Example: datagen report --run runs/default
    """
    from datagen.report import write_report

    print(write_report(run))
