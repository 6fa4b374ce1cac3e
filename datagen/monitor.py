"""``datagen alarms``: a run's files, a held-out judge and hygiene, to ``RUN/alarms.json``.

The judge looks at a seeded choice of whole groups of the built candidates, and, where both
evaluations stand, the training rewards look at their pictures. What a reader must see is the alarms,
the shifts they rest on and the samples that weigh most.
"""

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datagen.alarms import Shift, raise_alarms, stage_shift, weight_shift
from datagen.errors import InputError
from datagen.evals import EvalRow, read_results
from datagen.provenance import builds, read_record
from datagen.recipe import Recipe, load_recipe, parse_recipe
from datagen.sample import Sample, Target
from datagen.scores import judged
from datagen.shards import write_atomic

if TYPE_CHECKING:
    from rewards.base import RewardFunction

LOOKED_AT = 2000  # candidates that the held-out judge looks at
TOP = 12  # of the heaviest samples, shown in the report


def write_alarms(
    run: Path,
    judge: str = "judge",
    limit: int = LOOKED_AT,
    seed: int = 0,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> dict[str, Any]:
    """Look at a run and write ``run/alarms.json``; returns what it holds.

    Raises ``InputError`` when there is no dataset or ``judge`` was used for weighting.
    """
    from rewards import load_reward

    recipes = _recipes(run)
    if used := next((r.name for r in recipes if judge in r.reward_names), None):
        raise InputError(f"judge {judge!r} weighs in recipe {used!r}: an alarm needs one that did not")
    samples = _whole_groups(_built(run), limit, seed)
    progress("alarms", 0, 2)
    heldout = load_reward(judge)
    scores = judged(judge, heldout, samples)
    groups = [s.group_id for s in samples]
    weights = [s.image_weight for s in samples]
    columns: list[tuple[str, str, Sequence[float | None]]] = [
        ("reward", "training", [s.reward for s in samples]),
        (judge, "heldout", [s.value for s in scores]),
    ]
    columns += [(name, "hygiene", values) for name, values in _hygiene([s.image for s in samples]).items()]
    by_weight = [weight_shift(name, kind, values, weights, groups, seed) for name, kind, values in columns]
    progress("alarms", 1, 2)
    by_stage = _stages(run, recipes, judge)
    progress("alarms", 2, 2)
    parts = {"weights": [s for s in by_weight if s], "stages": [s for s in by_stage if s]}
    alarms = [a for where, shifts in parts.items() for a in raise_alarms(where, shifts)]
    heaviest = sorted(range(len(samples)), key=lambda i: (-weights[i], samples[i].id))[:TOP]
    unjudged = sum(s.value is None for s in scores)
    found = {
        "judge": judge,
        "looked_at": len(samples),
        "unjudged": unjudged,
        "why_unjudged": next((s.reason for s in scores if s.value is None), ""),
        "alarms": [asdict(a) for a in alarms],
        **{where: [asdict(s) for s in shifts] for where, shifts in parts.items()},
        "top": [{"id": samples[i].id, "heldout": scores[i].value, "why": scores[i].reason} for i in heaviest],
    }
    write_atomic(run / "alarms.json", (json.dumps(found, indent=2) + "\n").encode())
    return found


def _recipes(run: Path) -> list[Recipe]:
    """Those of the run, or of the builds that a merged dataset is of."""
    if found := [load_recipe(path) for path in sorted((run / "recipes").glob("*.yaml"))]:
        return found
    record = read_record(run / "dataset")
    rows = {k: v for b in builds(record) for k, v in b.get("settings", {}).get("recipes", {}).items()}
    return [parse_recipe(row, name) for name, row in rows.items()]


def _built(run: Path) -> list[Sample]:
    """Every candidate with a picture and a reward, from both splits."""
    from datasets import Image

    from datagen.dataset import load_weighted

    samples = []
    for split in ("train", "dropped"):
        if split == "dropped" and not list((run / "dataset" / "data").glob("dropped-*.parquet")):
            continue
        rows = load_weighted(run / "dataset", split).cast_column("image", Image(decode=False))
        for row in rows.with_format(None):
            if row["image"] is None or row["reward"] is None:
                continue
            samples.append(
                Sample(
                    row["prompt"], Target.from_dict(json.loads(row["target"])), id=row["id"],
                    group_id=row["group_id"], recipe=row["recipe"], trace=row["trace"] or "",
                    image=row["image"]["bytes"], reward=row["reward"], image_weight=row["image_weight"],
                    text_weight=row["text_weight"],
                )
            )  # fmt: skip
    if not samples:
        raise InputError(f"{run / 'dataset'}: no scored candidate to look at")
    return samples


def _whole_groups(samples: Sequence[Sample], limit: int, seed: int) -> list[Sample]:
    groups: dict[str, list[Sample]] = {}
    for sample in samples:
        groups.setdefault(sample.group_id, []).append(sample)
    names = sorted(groups)
    random.Random(f"alarms/{seed}").shuffle(names)
    out: list[Sample] = []
    for name in names:
        if out and len(out) + len(groups[name]) > limit:
            break
        out += groups[name]
    return out


def _hygiene(images: Sequence[bytes | None]) -> dict[str, list[float | None]]:
    """Hygiene figure -> its value of each picture, None where there is none to look at."""
    from rewards.base import open_image
    from rewards.hygiene import LIMITS, figures

    out: dict[str, list[float | None]] = {name: [] for name in LIMITS}
    for image in images:
        try:
            found: Mapping[str, float | None] = figures(open_image(image)) if image is not None else {}
        except ValueError:  # unreadable: unscored, as everywhere
            found = {}
        for name, values in out.items():
            values.append(found.get(name))
    return out


def _stages(run: Path, recipes: Sequence[Recipe], judge: str) -> list[Shift | None]:
    """Before against after, if both evaluations stand: training rewards, the judge, hygiene."""
    files = [run / "eval" / f"{name}.jsonl" for name in ("before", "after")]
    if not all(f.exists() for f in files) or not recipes:
        return []
    rewards = _training_rewards(recipes)
    columns: list[dict[tuple[str, str], dict[str, list[float]]]] = []
    for file in files:
        rows = [r for r in read_results(file) if r.category in {x.weakness for x in recipes}]
        samples = [_sample(file, row) for row in rows]
        prompts = [row.prompt_id for row in rows]
        found = {(judge, "heldout"): _by_prompt(prompts, [r.score for r in rows])}
        for name, reward in rewards.items():
            found[name, "training"] = _by_prompt(prompts, [s.value for s in judged(name, reward, samples)])
        for name, values in _hygiene([s.image for s in samples]).items():
            found[name, "hygiene"] = _by_prompt(prompts, values)
        columns.append(found)
    before, after = columns
    return [stage_shift(name, kind, before[name, kind], after[name, kind]) for name, kind in before]


def _training_rewards(recipes: Sequence[Recipe]) -> "dict[str, RewardFunction]":
    """The rewards of pictures that the recipes weigh by, each once, with the first recipe's options.

    A judge that needs the policy itself is left out: it would have to be loaded in both its states.
    """
    from rewards import load_rewards

    out: dict[str, RewardFunction] = {}
    for recipe in recipes:
        names = [n for n, w in recipe.rewards.image.items() if w and n not in out]
        found = load_rewards(names, recipe.rewards.options, {})
        out |= {name: reward for name, reward in found.items() if not hasattr(reward, "bind")}
    return out


def _by_prompt(prompts: Sequence[str], values: Sequence[float | None]) -> dict[str, list[float]]:
    out: dict[str, list[float]] = {}
    for prompt, value in zip(prompts, values, strict=True):
        if value is not None:
            out.setdefault(prompt, []).append(value)
    return out


def _sample(file: Path, row: EvalRow) -> Sample:
    """The sample that an evaluation row was written from, its picture read back if it is there."""
    name = row.extra.get("image")
    path = file.parent / name if isinstance(name, str) else None
    inside = path is not None and path.resolve().is_relative_to(file.parent.resolve()) and path.is_file()
    target = Target.from_dict(dict(row.metadata)) if "tag" in row.metadata else Target(row.category)
    return Sample(
        row.prompt,
        target,
        trace=str(row.extra.get("trace") or ""),
        image=path.read_bytes() if path is not None and inside else None,
    )
