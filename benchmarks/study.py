"""The paper's findings at pocket scale: ``python -m benchmarks.study``. Resumable, an arm and a seed a file.

An arm is one way to make data, weigh it, train and sample; its result is a small JSON file under
``--results`` with the score of every prompt of the four-part suite, so that arms are paired by prompt
and by seed. What stands is not made again: stop it at any time, run it twice at once on other
``--seeds``. ``python -m benchmarks.study_report`` makes ``docs/study.md`` of the files.

Sizes: ``--setting small`` finishes in minutes and is too small to tell arms apart; ``full`` is the
study. The arm of an LLM needs the embedded SmolLM2.
"""

import argparse
import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp
from pathlib import Path
from typing import Any

from benchmarks.arms import (
    ALIGNED,
    AXES,
    BOTH,
    GOAL,
    PARTS,
    PILOT,
    REFINED,
    SETTINGS,
    WEAK,
    Arm,
    Data,
    Setting,
)
from benchmarks.two_stages import cost
from datagen.account import Account
from datagen.budget import responses
from datagen.card import dataset_card
from datagen.compare import compare, transition_rate
from datagen.console import progress
from datagen.dataset import save_dataset
from datagen.dedupe import dedupe_images
from datagen.evals.rows import EvalRow
from datagen.loop import choose, evaluate_to
from datagen.manifest import read_manifest
from datagen.pipeline import build
from datagen.recipe import Recipe, Rewards, load_recipe, recipes_by_weakness
from datagen.sample import Sample
from datagen.shards import read_shard, write_atomic
from datagen.suites import load_suite
from datagen.turns import TURN
from datagen.weaknesses import find_weaknesses
from datagen.weights import ess, weigh
from trainer import TrainConfig, train


@dataclass(frozen=True)
class Study:
    run: Path
    results: Path
    setting: Setting
    update: Any = lambda stage, done, total: None

    def evaluate(
        self, folder: Path, model: str, cfg: float | None = None, trace: bool = True
    ) -> dict[str, list[EvalRow]]:
        """Rows by part. Files in ``folder`` are found again."""
        s = self.setting
        return {
            part: evaluate_to(
                folder / f"{part}.jsonl", model, suite, s.compose if part == "compose" else s.other, s.images,
                cfg, 0, self.update, trace,
            )
            for part, suite in PARTS.items()
        }  # fmt: skip

    def baselines(self) -> None:
        """The untrained model with its trace and without, at each scale an arm is tested at."""
        for name, model, cfg, trace in (
            ("untrained", "pocket", None, True), ("untrained, no trace", "pocket", None, False),
            ("untrained, tested at 1", "pocket", 1.0, True), ("untrained, tested at 1.5", "pocket", 1.5, True),
            ("untrained, refined prompt", f"{REFINED}pocket", None, True),
        ):  # fmt: skip
            path = self.results / f"{name.replace(' ', '_')}.json"
            if not path.exists():
                began = time.monotonic()
                rows = self.evaluate(self.run / name, model, cfg, trace)
                self._write(path, {"arm": name, "axis": "baseline", **scores(rows), "eval_s": _since(began)})

    def arm(self, arm: Arm, seed: int) -> None:
        path = self.results / f"{arm.file}.{seed}.json"
        if path.exists():
            return
        began = time.monotonic()
        model, dataset, made = self.trained(arm, seed)
        trained_s = _since(began)
        began = time.monotonic()
        how = "-refined" if arm.refined else "" if arm.trace else "-none"
        where = model / f"eval-{'default' if arm.cfg is None else f'{arm.cfg:g}'}{how}"
        rows = self.evaluate(where, f"{REFINED if arm.refined else ''}{model}", arm.cfg, arm.trace)
        self._write(
            path,
            {"arm": arm.name, "axis": arm.axis, "seed": seed, **scores(rows), **dataset, **made,
             "made_s": trained_s, "eval_s": _since(began)},
        )  # fmt: skip

    def autonomy(self, seed: int) -> None:
        """What it takes to draw in one pass, and in two."""
        path = self.results / "autonomy.json"
        if not path.exists():
            model, _, _ = self.trained(BOTH, seed)
            prompts = [s.prompt for s in load_suite("scenes", 11)[:64]]
            row = {"axis": "autonomy", "arm": "cost", "seed": seed, **cost(str(model), prompts)}
            self._write(path, row)

    def trained(self, arm: Arm, seed: int) -> tuple[Path, dict[str, Any], dict[str, Any]]:
        """The trained model's folder, the figures of its weights, and those of its build."""
        runs, base = self.built(arm.data, seed)
        if arm.keep:
            runs = [*self.built(arm.data.earlier, seed)[0], *runs]
        run = runs[-1][0]
        told = {
            k: v
            for k, v in vars(arm).items()
            if k in ("weights", "credit", "normalise", "modalities", "train")
        }
        plain = {k: getattr(BOTH, k) for k in told}
        name = "plain" if told == plain and not arm.keep else arm.file
        folder = run / name
        data = run / "dataset"
        if len(runs) > 1 or any(told[k] != plain[k] for k in ("weights", "credit", "normalise")):
            data = folder / "dataset"
        figures = folder / "weights.json"
        if not figures.exists():
            weighted = [s for run, recipes in runs for r in recipes for s in reweighed(run, r, arm)]
            if data != run / "dataset":
                save_dataset(weighted, data, dataset_card(Account.of(weighted), {"model": base}))
            folder.mkdir(parents=True, exist_ok=True)
            self._write(figures, {
                "candidates": len(weighted), "kept": sum(not s.dropped for s in weighted),
                "ess_text": ess([s.text_weight for s in weighted]), "ess_image": ess([s.image_weight for s in weighted]),
            })  # fmt: skip
        if not (folder / "training.json").exists():
            config = TrainConfig(
                data, folder, base, arm.modalities, self.setting.epochs, seed=seed, **arm.train  # type: ignore[arg-type]
            )  # fmt: skip
            train(config, self.update)
        prompts = Counter[str]()
        for _, recipes in runs:
            prompts.update({r.name: r.prompts.count for r in recipes})
        return folder, json.loads(figures.read_text()), {"prompts": dict(prompts)}

    def built(self, data: Data, seed: int) -> tuple[list[tuple[Path, list[Recipe]]], str]:
        """The builds of ``data``, each with its recipes, and the model whose candidates they are.

        A piloted build is two: the pilot, then the rest by what training on the pilot moved.
        """
        run = self.run / f"seed{seed}" / data.name
        base, old = self.start(data, seed)
        first: list[tuple[Path, list[Recipe]]] = []
        moved: dict[str, float] = {}
        if data.strategy == "piloted":
            pilot = replace(BOTH, data=replace(data, strategy="targeted", scale=PILOT * data.scale))
            first, _ = self.built(pilot.data, seed)
            moved = self.moved(pilot, seed)
        elif data.moved:
            moved = self.moved(replace(BOTH, data=data.earlier), seed)
        recipes = self.recipes(data, old, moved)
        if not (run / "build.json").exists():
            begin = seed + TURN * (data.round - 1) + 500 * bool(first)
            build(run, recipes, base, data.llm, 0, begin, progress=self.update)
        return [*first, (run, [r.for_vocabulary("scenes") for r in recipes])], base

    def start(self, data: Data, seed: int) -> tuple[str, dict[str, list[EvalRow]]]:
        """The model that draws ``data``, and its evaluation: the round before's, or the untrained one."""
        if data.round == 1:
            return "pocket", self.evaluate(self.run / "untrained", "pocket")
        last, _, _ = self.trained(replace(BOTH, data=data.earlier), seed)
        return str(last), self.evaluate(last / "eval-default", str(last))

    def moved(self, arm: Arm, seed: int) -> dict[str, float]:
        """What a prompt of each recipe moved, by training ``arm``."""
        _, old = self.start(arm.data, seed)
        model, _, made = self.trained(arm, seed)
        found = compare(labelled(old), labelled(self.evaluate(model / "eval-default", str(model))))
        return responses(found, recipes_by_weakness(), made["prompts"])

    def recipes(
        self, data: Data, before: dict[str, list[EvalRow]], moved: Mapping[str, float] | None = None
    ) -> list[Recipe]:
        """The same number of candidates for every strategy; a piloted build's pilot is part of it."""
        k = data.k or self.setting.k
        total = max(4, round(self.setting.prompts * data.scale * self.setting.k / k))
        if data.strategy in ("targeted", "piloted"):
            if data.strategy == "piloted":
                total -= round(PILOT * total)
            found = find_weaknesses(
                labelled(before), GOAL, recipes=recipes_by_weakness(), responses=moved or {}
            )
            counts = {r.name: r.prompts.count for r in choose(found, WEAK, total, k)}
        else:
            names = ALIGNED if data.strategy == "aligned" else ("broad",)
            counts = {name: total // len(names) for name in names}
        scale = total / sum(counts.values())
        out = []
        for name, count in counts.items():
            recipe = load_recipe(name)
            sampling = {n: v.candidates for n, v in recipe.vocabularies.items()}
            assert sampling.get("scenes") is None  # or the recipe's own cfg would be overridden there
            out.append(
                recipe.model_copy(
                    update={
                        "trace": data.trace,
                        "prompts": recipe.prompts.model_copy(update={"count": max(1, round(count * scale))}),
                        "candidates": recipe.candidates.model_copy(update={"k": k, "cfg": data.cfg}),
                    }
                )
            )
        return out

    def _write(self, path: Path, row: dict[str, Any]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, (json.dumps(row) + "\n").encode())


def labelled(parts: Mapping[str, Sequence[EvalRow]]) -> list[EvalRow]:
    """Every part a benchmark of its own, as the four of the paper are: each has one vote."""
    return [row._replace(benchmark=part) for part, rows in parts.items() for row in rows]


def reweighed(run: Path, recipe: Recipe, arm: Arm) -> list[Sample]:
    """The build's candidates of one recipe under the arm's weights."""
    sums = read_manifest(run).shards
    mine = sorted(name for name in sums if name.startswith(f"{recipe.name}-"))
    samples = dedupe_images(
        [s for name in mine for s in read_shard(run / "shards" / name, sums[name])], recipe.dedupe.images
    )
    settings = recipe.weights.model_copy(update=arm.weights)
    rewards = recipe.rewards
    if arm.credit == "shared":
        rewards = Rewards(image=rewards.image, text=rewards.image)
    weighted = weigh(samples, recipe.model_copy(update={"weights": settings, "rewards": rewards}))
    if arm.normalise == "group":
        return weighted
    known = [s.reward for s in weighted if s.reward is not None]
    mean = sum(known) / len(known)

    def globally(sample: Sample, old: float) -> float:
        value = sample.reward if old else None  # what weighs nothing in its group weighs nothing here
        return 0.0 if value is None else min(exp((value - mean) / settings.temperature), settings.max)

    raw = [(globally(s, s.text_weight), globally(s, s.image_weight)) for s in weighted]
    text, image = (
        sum(column) / max(1, sum(x > 0 for x in column)) or 1.0 for column in zip(*raw, strict=True)
    )
    return [
        replace(s, text_weight=t / text, image_weight=i / image)
        for s, (t, i) in zip(weighted, raw, strict=True)
    ]


def scores(rows: dict[str, list[EvalRow]]) -> dict[str, Any]:
    """Mean score of each prompt by part and category, strict word accuracy of the text, who opened the images."""
    parts: dict[str, dict[str, dict[str, list[float]]]] = {}
    for part, some in rows.items():
        for row in some:
            if row.score is not None:
                parts.setdefault(part, {}).setdefault(row.category, {}).setdefault(row.prompt_id, []).append(
                    row.score
                )
    words = [float(r.extra["word_accuracy"]) for r in rows["text"] if "word_accuracy" in r.extra]
    return {
        "parts": {
            part: {
                c: [round(sum(v) / len(v), 4) for _, v in sorted(p.items())] for c, p in categories.items()
            }
            for part, categories in parts.items()
        },
        "word_accuracy": sum(words) / max(1, len(words)),
        "opens alone": transition_rate([r for some in rows.values() for r in some]).get("model", 0.0),
    }


def _since(began: float) -> float:
    return round(time.monotonic() - began, 1)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", type=Path, default=Path("runs/study"))
    parser.add_argument("--results", type=Path, default=None, help="default: RUN/SETTING/results")
    parser.add_argument("--setting", choices=SETTINGS, default="small")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--axes", nargs="*", choices=[*AXES, "autonomy"], default=[])
    parser.add_argument("--without", nargs="*", default=[], help="arms to leave out, such as 'x 16'")
    args = parser.parse_args()
    setting = SETTINGS[args.setting]
    run = args.run / args.setting
    update, stop = progress()
    study = Study(run, args.results or run / "results", setting, update)
    study.baselines()
    for axis in args.axes or setting.axes or [*AXES, "autonomy"]:
        if axis == "autonomy":
            study.autonomy(args.seeds[0])
        for seed in args.seeds:
            for arm in AXES.get(axis, ()):
                if arm.name in args.without:
                    continue
                study.arm(arm, seed)
                print(f"{arm.axis}: {arm.name}, seed {seed}", flush=True)
    stop()


if __name__ == "__main__":
    main()
