"""A model on a suite: images, a held-out judge, a results file in GenEval's row format.

The same prompts and seeds every time, so that before and after can be paired. An image that the
judge could not judge is ``correct: null``, not false.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from datagen.candidates import png
from datagen.evals import read_results
from datagen.evals.rows import EvalRow
from datagen.models.base import GenerationConfig, UnifiedModel
from datagen.sample import Sample, content_seed
from datagen.shards import write_atomic

if TYPE_CHECKING:
    from rewards.base import RewardFunction

BATCH = 64


def evaluate(
    model: UnifiedModel,
    prompts: Sequence[Sample],
    judge: "RewardFunction",
    out: Path,
    images_per_prompt: int = 4,
    config: GenerationConfig | None = None,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> list[EvalRow]:
    """Write ``out`` (JSONL) and ``out``'s sibling folder of pictures; returns the rows as read back.

    By default an unopened image is forced, so that drawing is measured apart from opening.
    """
    from dataclasses import replace

    config = config or GenerationConfig(force=True)
    slots = [(n, k) for n in range(len(prompts)) for k in range(images_per_prompt)]
    pictures = out.with_suffix("")
    pictures.mkdir(parents=True, exist_ok=True)
    rows = []
    for start in range(0, len(slots), BATCH):
        part = slots[start : start + BATCH]
        asked = [prompts[n] for n, _ in part]
        seeds = [content_seed("eval", prompts[n].prompt, k) for n, k in part]
        made = model.generate([s.prompt for s in asked], seeds, config)
        samples = [
            replace(s, trace=m.trace, image=png(m.image) if m.image else None, transition=m.transition)
            for s, m in zip(asked, made, strict=True)
        ]
        for (n, k), seed, sample, score in zip(part, seeds, samples, judge.score(samples), strict=True):
            name = f"{n:05d}_{k}.png"
            if sample.image is not None:
                (pictures / name).write_bytes(sample.image)
            rows.append(
                {
                    "filename": f"{n:05d}/samples/{k:04d}.png",
                    "tag": sample.target.tag,
                    "prompt": sample.prompt,
                    "correct": None if score.value is None else score.value == 1.0,
                    "reason": score.reason,
                    "metadata": json.dumps({**sample.target.to_dict(), "prompt": sample.prompt}),
                    "details": json.dumps(score.details),
                    "seed": seed,
                    "transition": sample.transition,
                    "trace": sample.trace,
                    "image": f"{pictures.name}/{name}" if sample.image is not None else None,
                }
            )
        progress("eval", min(start + BATCH, len(slots)), len(slots))
    write_atomic(out, "".join(json.dumps(row) + "\n" for row in rows).encode())
    return read_results(out, "geneval")
