"""Commands that check: ``calibrate``, ``alarms``, ``doctor``."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from datagen.commands.common import (
    DEFAULT,
    Json,
    Progress,
    Run,
    Seed,
)


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
    """Fit a reward's threshold to labelled pictures. Precision, recall and agreement.

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


def alarms(
    run: Run = DEFAULT,
    judge: Annotated[str, typer.Option(help="a reward that no recipe of the run weighs by")] = "judge",
    samples: Annotated[int, typer.Option(min=1, help="candidates that it looks at, whole groups")] = 2000,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Look whether a reward is being gamed. A held-out judge and hygiene against weights and training.

    Example: datagen alarms --run runs/default --judge judge
    """
    from datagen.monitor import write_alarms

    with Progress() as progress:
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


def doctor(
    model: Annotated[str, typer.Argument(help="what this one needs: a name, a folder or a Hub id")] = "",
    as_json: Json = False,
) -> None:
    """Say what works here and what fits where. Models, LLMs, rewards; the command for each model.

    Example: datagen doctor
    """
    from datagen.console import table
    from datagen.doctor import check, needs

    works, sizes = [] if model else check(), needs(model=model)
    if as_json:
        named = [dict(zip(("kind", "name", "works", "about"), row, strict=True)) for row in works]
        print(json.dumps({"works": named, "needs": [asdict(n) for n in sizes]}, indent=2))
        return
    for kind, name, does, hint in works:
        print(f"{kind:<8} {name:<10} {'works' if does else 'no':<6} {hint}")
    table(
        "Memory in GB at a batch of one, worked out from the config; the whole has 8% in reserve",
        ("model", "size", "task", "weights", "activations", "optimizer", "whole", "fits", "here"),
        [
            (
                n.model, n.parameters, n.task, f"{n.weights:.1f}", f"{n.activations:.1f}", f"{n.optimizer:.1f}",
                f"{n.gigabytes:.1f}", n.device, f"{n.batch} at once" if n.here else "no",
            )
            for n in sizes
        ],
    )  # fmt: skip
    print("What trains is float32, the rest bfloat16; adapters have rank 16; activations are recomputed.")
    for n in sizes:
        if n.command:
            print(f"{n.model}, {n.task}: {n.command}")
