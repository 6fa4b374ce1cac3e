"""Which reward each modality's weights come from: ``python -m benchmarks.credit --run runs/modalities``.

On the builds that ``benchmarks.modalities`` left in ``--run``: the same candidates are weighed three
ways, trained on and evaluated. *shared*: the verdict on the picture weighs trace and picture alike.
*specific*: the trace by whether it satisfies the target, the picture by whether it does (the recipes'
way). *follows*: the picture by whether it shows what its trace says, right or wrong. Prints the
difference from the untrained model and, paired by seed, of each way from *shared*. Over three seeds
(``results/credit.json``) *specific* does not differ from *shared*, and *follows* is better by 1.6 ± 1.6 points
overall. The recipes keep *specific*: its reward is also the build's pass rate, and what alarms compare.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.modalities import interval
from datagen.account import Account
from datagen.card import dataset_card
from datagen.compare import compare, transition_rate
from datagen.console import percent, progress, table
from datagen.dataset import save_dataset
from datagen.dedupe import dedupe_images
from datagen.loop import choose, evaluate_to, recipes_by_weakness
from datagen.manifest import read_manifest
from datagen.pipeline import build
from datagen.recipe import Recipe, Rewards
from datagen.sample import Sample
from datagen.scores import judged
from datagen.shards import read_shard
from datagen.weaknesses import find_weaknesses
from datagen.weights import weigh
from rewards import load_reward
from trainer import TrainConfig, train

WAYS = {
    "shared": Rewards(image={"scenes": 1.0}, text={"scenes": 1.0}),
    "specific": Rewards(image={"scenes": 1.0}, text={"trace": 1.0}),
    "follows": Rewards(image={"follows": 1.0}, text={"trace": 1.0}),
}


def rescored(run: Path, recipe: Recipe) -> list[Sample]:
    """The build's candidates of one recipe, near-duplicates marked, with the score ``follows``."""
    sums = read_manifest(run).shards
    mine = sorted(name for name in sums if name.startswith(f"{recipe.name}-"))
    samples = [s for name in mine for s in read_shard(run / "shards" / name, sums[name])]
    follows = judged("follows", load_reward("follows"), samples)
    samples = [replace(s, scores=(*s.scores, f)) for s, f in zip(samples, follows, strict=True)]
    return dedupe_images(samples, recipe.dedupe.images)


def one_seed(args: argparse.Namespace, seed: int, before: list) -> dict[str, dict[str, float]]:
    """``{way: {category: difference}}`` of one seed."""
    run = args.run / f"seed{seed}"
    update, stop = progress()
    recipes = choose(find_weaknesses(before, recipes=recipes_by_weakness()), args.weak, args.prompts)
    build(run, recipes, args.model, args.llm, 0, seed, progress=update)
    recipes = [r.for_vocabulary("scenes") for r in recipes]
    samples: dict[str, Sequence[Sample]] = {}
    out = {}
    for way, rewards in WAYS.items():
        folder = run / f"credit-{way}"
        if not (folder / "training.json").exists():
            samples = samples or {r.name: rescored(run, r) for r in recipes}
            weighted = [
                s for r in recipes for s in weigh(samples[r.name], r.model_copy(update={"rewards": rewards}))
            ]
            save_dataset(
                weighted, folder / "dataset", dataset_card(Account.of(weighted), {"model": args.model})
            )
            train(TrainConfig(folder / "dataset", folder, args.model, seed=seed), update)
        size = (args.per_category, args.images, args.cfg, 0)
        after = evaluate_to(folder / "eval.jsonl", str(folder), "scenes", *size, update)
        out[way] = {c.category: c.difference for c in compare(before, after)}
        out[way]["opens alone"] = transition_rate(after).get("model", 0.0)
    stop()
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, default=Path("runs/modalities"))
    parser.add_argument("--model", default="pocket")
    parser.add_argument("--llm", default="template")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--weak", type=int, default=2)
    parser.add_argument("--prompts", type=int, default=160)
    parser.add_argument("--per-category", type=int, default=60)
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--cfg", type=float, default=None)
    args = parser.parse_args()
    update, stop = progress()
    size = (args.per_category, args.images, args.cfg, 0)
    before = evaluate_to(args.run / "before.jsonl", args.model, "scenes", *size, update)
    stop()
    results = [one_seed(args, seed, before) for seed in args.seeds]
    categories = [c for c in results[0]["shared"] if c != "opens alone"]
    others = [way for way in WAYS if way != "shared"]
    rows = [
        (
            c,
            *(interval([r[way][c] for r in results]) for way in WAYS),
            *(interval([r[way][c] - r["shared"][c] for r in results]) for way in others),
        )
        for c in categories
    ]
    opened = [percent(sum(r[way]["opens alone"] for r in results) / len(results)) for way in WAYS]
    table(
        f"Difference from the untrained model, points, {len(args.seeds)} seeds (mean ± 95% t interval)",
        ("category", *WAYS, *(f"{way} - shared" for way in others)),
        [*rows, ("opens alone, %", *opened, *("" for _ in others))],
    )
    (args.run / "credit.json").write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
