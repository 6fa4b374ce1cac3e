"""A model on a suite: images, a held-out judge, a results file in GenEval's row format.

The same prompts and seeds every time, so that before and after can be paired. Batches are fixed, so
the number of workers changes nothing. An image that the judge could not judge is ``correct: null``,
not false. A graded suite's rows have the judge's ``score`` too, which readers prefer.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from datagen.candidates import png
from datagen.evals import read_results
from datagen.evals.rows import EvalRow
from datagen.models.base import GenerationConfig
from datagen.sample import Sample, content_seed
from datagen.shards import write_atomic
from datagen.workers import run_jobs

BATCH = 64
SPELLING = ("edit_distance", "completion", "word_accuracy")  # OneIG-Bench's ED, CR, WAC


@dataclass(frozen=True)
class EvalJob:
    """One batch: ``slots`` are (prompt's number, image's number, prompt)."""

    number: int
    slots: tuple[tuple[int, int, Sample], ...]


class EvalWorker:
    """Draws and judges batches, keeping model and judge loaded."""

    def __init__(self, model: str, judge: str, config: GenerationConfig, graded: bool = False) -> None:
        from datagen.models import load_model
        from rewards import load_reward

        self.model, self.judge, self.config = load_model(model), load_reward(judge), config
        self.graded = graded

    def __call__(self, job: EvalJob) -> list[tuple[dict[str, Any], bytes | None]]:
        seeds = [content_seed("eval", s.prompt, k) for _, k, s in job.slots]
        made = self.model.generate([s.prompt for _, _, s in job.slots], seeds, self.config)
        samples = [
            replace(s, trace=m.trace, image=png(m.image) if m.image else None, transition=m.transition)
            for (_, _, s), m in zip(job.slots, made, strict=True)
        ]
        rows = []
        for (n, k, _), seed, sample, score in zip(
            job.slots, seeds, samples, self.judge.score(samples), strict=True
        ):
            row: dict[str, Any] = {
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
            }
            if self.graded:
                row["score"] = score.value
                row |= {name: score.details[name] for name in SPELLING if name in score.details}
            rows.append((row, sample.image))
        return rows


def evaluate(
    model: str,
    prompts: Sequence[Sample],
    judge: str,
    out: Path,
    images_per_prompt: int = 4,
    config: GenerationConfig | None = None,
    workers: int = 0,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
    graded: bool = False,
    address: str | None = None,
) -> list[EvalRow]:
    """Write ``out`` (JSONL) and a folder of pictures beside it; returns the rows as read back.

    By default an unopened image is forced, so that drawing is measured apart from opening.
    """
    config = config or GenerationConfig(force=True)
    slots = [(n, k, prompt) for n, prompt in enumerate(prompts) for k in range(images_per_prompt)]
    jobs = [
        EvalJob(i, tuple(slots[start : start + BATCH])) for i, start in enumerate(range(0, len(slots), BATCH))
    ]
    pictures = out.with_suffix("")
    pictures.mkdir(parents=True, exist_ok=True)
    done: dict[int, list[dict[str, Any]]] = {}
    for job, made in run_jobs(lambda: EvalWorker(model, judge, config, graded), jobs, workers, address):
        rows = []
        for (n, k, _), (row, image) in zip(job.slots, made, strict=True):
            name = f"{n:05d}_{k}.png"
            if image is not None:
                (pictures / name).write_bytes(image)
            rows.append({**row, "image": f"{pictures.name}/{name}" if image is not None else None})
        done[job.number] = rows
        progress("eval", sum(map(len, done.values())), len(slots))
    lines = [json.dumps(row) + "\n" for number in sorted(done) for row in done[number]]
    write_atomic(out, "".join(lines).encode())
    return read_results(out, "geneval")
