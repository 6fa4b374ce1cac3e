"""Commands that make and hand on data: ``build``, ``merge``, ``publish``, ``recipes``."""

import json
import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from datagen.commands.common import (
    DEFAULT,
    Address,
    Candidates,
    Force,
    Json,
    Model,
    Progress,
    Run,
    Seed,
    at,
    pool_size,
    show_preview,
)
from datagen.errors import InputError


def build(
    recipe: Annotated[
        list[str] | None, typer.Option("--recipe", help="name or YAML path; repeatable")
    ] = None,
    from_weaknesses: Annotated[
        bool, typer.Option("--from-weaknesses", help="recipes and budget from RUN/weaknesses.json")
    ] = False,
    prompts: Annotated[int | None, typer.Option(min=1, help="prompts: a recipe, or in all by budget")] = None,
    candidates: Candidates = None,
    model: Model = "pocket",
    llm: Annotated[str, typer.Option(help="who writes the prompts")] = "smollm2",
    workers: Annotated[
        str, typer.Option(metavar="N|MIN:MAX", help="Ray workers, elastic or not; 0 runs in this process")
    ] = "0",
    ray_address: Address = None,
    model_gpus: Annotated[
        float | None, typer.Option(min=0, help="GPUs of each worker; default 1 where there are any")
    ] = None,
    reward_workers: Annotated[
        str,
        typer.Option(
            metavar="N|MIN:MAX", help="score in workers of their own; 0 scores where the model draws"
        ),
    ] = "0",
    reward_gpus: Annotated[float | None, typer.Option(min=0, help="GPUs of each of those")] = None,
    llm_workers: Annotated[
        int, typer.Option(min=0, help="write prompts in workers of their own; 0 writes in this process")
    ] = 0,
    llm_gpus: Annotated[float, typer.Option(min=0, help="GPUs of each of those")] = 0.0,
    llm_batch: Annotated[int, typer.Option(min=1, help="requests that each of those gets at a time")] = 32,
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
    """Build a weighted dataset; run again to resume. Prompts, traces, candidates, scores, dedupe, weights.

    Example: datagen build --recipe counting --recipe position
    """
    from datagen import pipeline
    from datagen.console import say
    from datagen.loop import choose
    from datagen.recipe import load_recipe
    from datagen.weaknesses import read_weaknesses

    if from_weaknesses == bool(recipe):
        raise InputError("give either --recipe NAME or --from-weaknesses")
    if from_weaknesses:
        wanted = prompts or 240
        recipes = choose(read_weaknesses(run / "weaknesses.json"), 99, wanted, candidates)
        counts = ", ".join(f"{r.name} {r.prompts.count}" for r in recipes)
        say(f"prompts by budget, at least 8 a recipe, and broad ones against forgetting: {counts}")
    else:
        recipes = []
        for name in recipe or []:
            one = load_recipe(name)
            count = one.prompts.model_copy(update={"count": prompts} if prompts else {})
            k = one.candidates.model_copy(update={"k": candidates} if candidates else {})
            recipes.append(one.model_copy(update={"prompts": count, "candidates": k}))
    most, least = pool_size("--workers", workers)
    reward_most, reward_least = pool_size("--reward-workers", reward_workers)
    if preview:
        show_preview(pipeline.preview(recipes, model, llm, preview, seed))
        return
    with Progress() as progress:
        who = pipeline.Resources(
            most, model_gpus, reward_most, reward_gpus, ray_address, timeout, llm_workers, llm_gpus, llm_batch,
            least, reward_least,
        )  # fmt: skip
        made = pipeline.build(
            run, recipes, model, llm, most, seed, ray_address, force, progress, against or (), who, batch
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
    own = "" if model == "pocket" else f" --model {shlex.quote(model)}"
    print(f"\nNext: datagen train{own}{at(run)}")


def merge(
    datasets: Annotated[list[Path], typer.Argument(help="run directories or dataset folders")],
    out: Annotated[Path, typer.Option(help="a run directory to make; its dataset/ holds the merge")],
    as_json: Json = False,
) -> None:
    """Merge datasets into one. Near-duplicates across them are dropped, weights kept.

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
    """List the recipes, show one, or start one from a weakness.

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
