"""Samples to a weighted Hugging Face dataset and back.

Two splits: ``train`` (kept) and ``dropped`` (with ``drop_reason``). Written as one parquet file a
split, images embedded as an ``Image`` feature, so that both ``datasets.load_dataset(folder)`` and
``load_weighted`` open it. Files are built apart and moved in place together.
"""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from datagen.errors import InputError
from datagen.sample import Sample

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict, Features

COLUMNS = (
    "id", "group_id", "recipe", "weakness", "prompt", "target", "trace", "trace_source", "image", "transition",
    "scores", "reward", "advantage", "text_weight", "image_weight", "seed", "candidate", "model", "llm",
    "drop_reason",
)  # fmt: skip


def features() -> "Features":
    """The typed columns of both splits."""
    from datasets import Features, Image, Value

    kinds = dict.fromkeys(("reward", "advantage", "text_weight", "image_weight"), Value("float64"))
    kinds |= {"seed": Value("int64"), "candidate": Value("int32"), "image": Image()}
    return Features({name: kinds.get(name, Value("string")) for name in COLUMNS})


def to_dataset(samples: Sequence[Sample]) -> "DatasetDict":
    """``train`` and ``dropped``, in the order given."""
    from datasets import Dataset, DatasetDict

    from datagen.shards import to_row

    splits: dict[str, list[dict]] = {"train": [], "dropped": []}
    for sample in samples:
        row = to_row(sample)
        row["drop_reason"] = row.pop("dropped")
        row["image"] = {"bytes": sample.image, "path": None} if sample.image is not None else None
        splits["dropped" if sample.dropped else "train"].append(row)
    return DatasetDict(
        {
            name: Dataset.from_dict({c: [r[c] for r in rows] for c in COLUMNS}, features=features())
            for name, rows in splits.items()
        }
    )


def save_dataset(samples: Sequence[Sample], folder: Path, card: str) -> None:
    """Write ``folder/data/{train,dropped}-*.parquet`` and the card as ``README.md``."""
    from datasets import disable_progress_bars

    disable_progress_bars()
    data = to_dataset(samples)
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    (partial / "data").mkdir(parents=True)
    for split, rows in data.items():
        if len(rows):
            rows.to_parquet(partial / "data" / f"{split}-00000-of-00001.parquet")
    (partial / "README.md").write_text(card, encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    partial.replace(folder)


def load_weighted(path: str | Path, split: str = "train") -> "Dataset":
    """One split of a dataset folder that ``save_dataset`` wrote, images decoded on access.

    Raises ``InputError`` naming what is missing.
    """
    from datasets import Dataset, disable_progress_bars

    disable_progress_bars()
    files = sorted(Path(path).glob(f"data/{split}-*.parquet"))
    if not files:
        raise InputError(f"{path}: no {split} split; a dataset folder has data/{split}-*.parquet")
    try:
        rows = Dataset.from_parquet([str(f) for f in files], cache_dir=str(Path(path) / ".cache"))
    except Exception as error:  # datasets raises its own builder errors, pyarrow's beneath
        cause = error.__cause__ or error
        raise InputError(f"{files[0]}: not a readable dataset: {str(cause).splitlines()[0]}") from error
    needed = ("prompt", "trace", "image", "text_weight", "image_weight")
    if missing := [c for c in needed if c not in rows.column_names]:
        raise InputError(
            f"{path}: column {missing[0]!r} is missing; a weighted dataset has {', '.join(needed)}"
        )
    return rows


def summarise(samples: Sequence[Sample]) -> dict[str, dict]:
    """By recipe: candidates, kept, dropped by reason, pass rate, mean reward, ESS, transitions."""
    from collections import Counter

    from datagen.weights import ess

    out: dict[str, dict] = {}
    for name in sorted({s.recipe for s in samples}):
        mine = [s for s in samples if s.recipe == name]
        scored = [s.reward for s in mine if s.reward is not None]
        out[name] = {
            "weakness": mine[0].weakness,
            "prompts": len({s.group_id for s in mine}),
            "candidates": len(mine),
            "kept": sum(not s.dropped for s in mine),
            "dropped": dict(Counter(s.dropped.split(" of ")[0] for s in mine if s.dropped)),
            "pass_rate": sum(r == 1.0 for r in scored) / len(scored) if scored else None,
            "reward_mean": sum(scored) / len(scored) if scored else None,
            "text_ess": ess([s.text_weight for s in mine]),
            "image_ess": ess([s.image_weight for s in mine]),
            "transitions": dict(Counter(s.transition for s in mine)),
        }
    return out


def dataset_card(samples: Sequence[Sample], settings: dict) -> str:
    """The Hub README: what it targets, how it was made, what was dropped and why, how it is weighted."""
    table = summarise(samples)
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
    return f"""---
tags: [datagen, text-to-image, reward-weighted, synthetic]
configs:
- config_name: default
  data_files:
{splits}
---

# Weakness-targeted data for {settings.get("model", "a unified model")}

Self-generated candidates (reasoning trace + image), scored, deduplicated and weighted for
reward-weighted regression on both modalities. Made by `datagen build`.

| recipe | weakness | prompts | candidates | kept | pass rate | text ESS | image ESS | dropped |
|---|---|---|---|---|---|---|---|---|
{rows}

Columns: `text_weight` weighs the cross-entropy of the trace, `image_weight` the flow loss of the
image; both are >= 0. `scores` lists every judge's value and reason. The split `dropped` keeps what
was left out, with `drop_reason`.

Limitations: images are generated and verified by rules, not by people; prompts cover the recipes
above and nothing else.

## Settings

```json
{json.dumps(settings, indent=2, sort_keys=True)}
```
"""


def _percent(value: float | None) -> str:
    return "unscored" if value is None else f"{100 * value:.1f}%"
