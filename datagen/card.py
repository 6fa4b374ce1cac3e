"""What a build or a merge says of itself: counts by recipe, and the dataset card for the Hub.

Croissant metadata is left to the Hub, which makes it for every dataset of parquet files.
"""

import json
import shlex
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from datagen.recipe import Recipe
from datagen.sample import Sample
from datagen.weakness import Weakness
from datagen.weights import ess

VERSIONS = ("datagen", "torch", "transformers", "datasets", "diffusers", "ray", "faiss-cpu", "vllm")
BINS = 10
PLACES = ("--run", "--workers", "--ray-address")
# Of the weights, as their makers state them; what is not here says so on the card.
LICENCES = {
    "pocket": "Apache-2.0 (ships with datagen)",
    "bagel": "Apache-2.0",
    "janus": "DeepSeek Model License",
    "emu3": "Apache-2.0",
    "smollm2": "Apache-2.0",
    "template": "no model",
}


def summarise(samples: Sequence[Sample], recipes: Sequence[Recipe] = ()) -> dict[str, dict[str, Any]]:
    """By recipe: candidates, kept, dropped by reason, pass rate, mean reward, ESS, transitions.

    A candidate passes that reached the recipe's floor, or, where rewards are compared within a group, its
    gates. Without the recipe only a reward of 1 passes.
    """
    known = {r.name: r for r in recipes}
    out: dict[str, dict[str, Any]] = {}
    for name in sorted({s.recipe for s in samples}):
        mine = [s for s in samples if s.recipe == name]
        scored = [s.reward for s in mine if s.reward is not None]
        recipe = known.get(name)
        relative = recipe is not None and recipe.rewards.scale.get("image", "raw") != "raw"
        floor = recipe.weights.floor if recipe else 1.0
        passed = sum(r > 0 if relative else r >= floor for r in scored)
        out[name] = {
            "weakness": mine[0].weakness,
            "prompts": len({s.group_id for s in mine}),
            "candidates": len(mine),
            "kept": sum(not s.dropped for s in mine),
            "dropped": dict(Counter(s.dropped.split(" of ")[0] for s in mine if s.dropped)),
            "pass_rate": passed / len(scored) if scored else None,
            "reward_mean": sum(scored) / len(scored) if scored else None,
            "text_ess": ess([s.text_weight for s in mine]),
            "image_ess": ess([s.image_weight for s in mine]),
            "transitions": dict(Counter(s.transition for s in mine)),
        }
    return out


def dataset_card(
    samples: Sequence[Sample],
    settings: Mapping[str, Any],
    recipes: Sequence[Recipe] = (),
    weaknesses: Sequence[Weakness] = (),
    prompts: Mapping[str, Mapping[str, Any]] | None = None,
) -> str:
    """The Hub README: what it targets, how it was made, what was dropped and why, how it is weighted.

    ``prompts`` are the reports of the prompt stage by recipe. Samples may come without their images.
    """
    table = summarise(samples, recipes)
    present = [
        n
        for n, gone in (("train", False), ("dropped", True))
        if any(bool(s.dropped) == gone for s in samples)
    ]
    splits = "\n".join(f"  - split: {name}\n    path: data/{name}-*.parquet" for name in present)
    rows = "\n".join(
        f"| {name} | {r['weakness']} | {r['prompts']} | {r['candidates']} | {r['kept']} | "
        f"{_percent(r['pass_rate'])} | {r['text_ess']:.0f} | {r['image_ess']:.0f} | "
        f"{', '.join(f'{k} {n}' for k, n in r['dropped'].items()) or 'none'} |"
        for name, r in table.items()
    )
    sources = Counter(s.trace_source for s in samples)
    return f"""---
tags: [datagen, text-to-image, reward-weighted, synthetic]
size_categories: [{_size(sum(r["kept"] for r in table.values()))}]
configs:
- config_name: default
  data_files:
{splits}
---

# Weakness-targeted data for {settings.get("model", "a unified model")}

Self-generated candidates (reasoning trace + image), scored, deduplicated and weighted for
reward-weighted regression on both modalities. Made by `datagen build`; `datagen train --data USER/NAME`
trains on it, `datasets.load_dataset` opens it.
{_profile(weaknesses)}
## What is in it

| recipe | weakness | prompts | candidates | kept | pass rate | text ESS | image ESS | dropped |
|---|---|---|---|---|---|---|---|---|
{rows}

Traces: {", ".join(f"{n} {source}" for source, n in sorted(sources.items()))}. Columns: `text_weight` weighs
the cross-entropy of the trace, `image_weight` the flow loss of the image; both are >= 0, normalised to
mean 1 within a prompt's candidates. `scores` lists every judge's value and reason. The split `dropped`
keeps what was left out, with `drop_reason`. `checksums.json` holds the sha256 of every file.
{_stages(table, prompts or {})}
## Rewards

```
{_histograms(samples)}
```

## Made with

{_models(samples)}
- command: `{_command()}`
- seed: {settings.get("seed", "unknown")}
- versions: {", ".join(f"{name} {found}" for name in VERSIONS if (found := _version(name)))}

## Limitations

Images are generated by the model that they are meant to improve, and verified by rules or models, not by
people: what every judge of a recipe misses is in here. Prompts cover the recipes above and nothing else.
No person was asked for consent and none is meant to be shown; check the licence of each model above before
publishing.

## Settings

```json
{json.dumps(settings, indent=2, sort_keys=True)}
```
"""


def _profile(weaknesses: Sequence[Weakness]) -> str:
    weak = [w for w in weaknesses if w.budget > 0]
    if not weak:
        return ""
    rows = "\n".join(
        f"| {w.label or w.category} | {w.n} | {100 * w.score:.1f} | {100 * w.low:.1f} to {100 * w.high:.1f} | "
        f"{100 * w.target:.1f} | {w.recipe or 'none'} |"
        for w in weak
    )
    return f"""
## The weaknesses it targets

As measured before the build; intervals at 95%, clustered by prompt.

| weakness | images | score | interval | target | recipe |
|---|---|---|---|---|---|
{rows}
"""


def _stages(table: Mapping[str, Mapping[str, Any]], prompts: Mapping[str, Mapping[str, Any]]) -> str:
    if not prompts:
        return ""
    lines = []
    for name, r in table.items():
        p = prompts.get(name, {})
        refused = ", ".join(f"{cause} {n}" for cause, n in p.get("rejected", {}).items()) or "none"
        lines.append(
            f"| {name} | {p.get('attempts', '')} | {p.get('kept', '')} | {refused} | {r['candidates']} | {r['kept']} |"
        )
    rows = "\n".join(lines)
    return f"""
## Counts by stage

| recipe | prompts written | accepted | refused | candidates | kept |
|---|---|---|---|---|---|
{rows}
"""


def _histograms(samples: Sequence[Sample]) -> str:
    """The image reward of each recipe in ten bins, as bars."""
    out = []
    for name in sorted({s.recipe for s in samples}):
        rewards = [s.reward for s in samples if s.recipe == name]
        scored = [r for r in rewards if r is not None]
        out.append(f"{name}: {len(scored)} scored, {len(rewards) - len(scored)} unscored")
        counts = Counter(min(max(int(r * BINS), 0), BINS - 1) for r in scored)
        most = max(counts.values(), default=1)
        for b in range(BINS):
            bar = "█" * -(-40 * counts[b] // most)
            out.append(f"  {b / BINS:.1f} to {(b + 1) / BINS:.1f} {counts[b]:>8} {bar}".rstrip())
    return "\n".join(out)


def _models(samples: Sequence[Sample]) -> str:
    lines = []
    for role, names in (
        ("candidates", {s.model for s in samples if s.model}),
        ("prompts", {s.llm for s in samples if s.llm}),
    ):
        for name in sorted(names):
            known = LICENCES.get(name.partition(":")[0].partition("?")[0], "licence not known to datagen")
            lines.append(f"- {role}: `{name}` ({known})")
    return "\n".join(lines)


def _command() -> str:
    """As it was typed, less what changes nothing in the data: where it ran and on how many workers."""
    if sys.argv[0].rpartition("/")[2] != "datagen":
        return "datagen.pipeline.build, from Python"
    words = iter(sys.argv[1:])
    kept = []
    for word in words:
        if word in PLACES:
            next(words, None)
        elif word.partition("=")[0] not in PLACES:
            kept.append(word)
    return shlex.join(["datagen", *kept])


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _size(rows: int) -> str:
    """The Hub's own size classes."""
    names = ["n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M", "100M<n<1B", "1B<n<10B"]
    return names[min(max(len(str(rows)) - 3, 0), len(names) - 1)]


def _percent(value: float | None) -> str:
    return "unscored" if value is None else f"{100 * value:.1f}%"
