"""A model on a suite: images, a held-out judge, a results file in GenEval's row format.

The same prompts and seeds every time, so that before and after can be paired. Batches are fixed, so
the number of workers changes nothing. Batches that are done when it is stopped are not drawn again. An image that the judge could not judge is ``correct: null``,
not false. A graded suite's rows have the judge's ``score`` too, which readers prefer.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from datagen.candidates import png
from datagen.errors import InputError, ShardError
from datagen.evals import read_results
from datagen.evals.rows import EvalRow
from datagen.models import weights_of
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


class Partial:
    """The batches that are done, a line each in a file that lasts until all are; of another key, none."""

    def __init__(self, path: Path, key: str) -> None:
        self.path, self.done = path, dict[int, list[dict[str, Any]]]()
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n") if path.exists() else [""]
        if lines[0] != key:
            write_atomic(path, f"{key}\n".encode())
            return
        for line in filter(None, lines[1:]):
            try:
                number, rows = json.loads(line)
            except ValueError:
                continue  # torn by a death in the middle of writing it
            self.done[number] = rows

    def add(self, number: int, rows: list[dict[str, Any]]) -> None:
        self.done[number] = rows
        with self.path.open("a", encoding="utf-8") as file:
            file.write(
                f"\n{json.dumps([number, rows])}\n"
            )  # a newline in front too: the line before may be torn


@contextmanager
def written(path: Path) -> Iterator[None]:
    """Raises ``ShardError`` when the disk is full; what is done stays."""
    try:
        yield
    except OSError as error:
        raise ShardError(f"{path}: cannot be written: {error.strerror}; free space and run again") from error


def key_of(
    model: str, prompts: Sequence[Sample], judge: str, images: int, config: GenerationConfig, graded: bool
) -> str:
    """What results depend on: equal settings, prompts and weights have equal keys."""
    asked = [[s.prompt, s.target.to_dict()] for s in prompts]
    weights = weights_of(model)
    name = model.partition("?")[2] if weights else model  # a folder's way here says nothing
    settings = [name, weights, judge, images, asdict(config), graded, asked]
    return sha256(json.dumps(settings).encode()).hexdigest()


def key_file(out: Path) -> Path:
    """Where the key of results is kept, beside them."""
    return out.with_name(f"{out.name}.key")


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
    Raises ``InputError`` when ``out`` has no ending, which its folder of pictures goes without.
    """
    if not out.suffix:
        raise InputError(
            f"{out}: give it an ending such as .jsonl; its pictures go into a folder without one"
        )
    config = config or GenerationConfig(force=True)
    slots = [(n, k, prompt) for n, prompt in enumerate(prompts) for k in range(images_per_prompt)]
    jobs = [
        EvalJob(i, tuple(slots[start : start + BATCH])) for i, start in enumerate(range(0, len(slots), BATCH))
    ]
    pictures = out.with_suffix("")
    pictures.mkdir(parents=True, exist_ok=True)
    key = key_of(model, prompts, judge, images_per_prompt, config, graded)
    partial = Partial(out.with_name(f"{out.name}.partial"), key)
    done = partial.done
    jobs = [job for job in jobs if job.number not in done]
    for job, made in run_jobs(lambda: EvalWorker(model, judge, config, graded), jobs, workers, address):
        names = [f"{pictures.name}/{n:05d}_{k}.png" for n, k, _ in job.slots]
        with written(pictures):
            for name, (_, image) in zip(names, made, strict=True):
                if image is not None:
                    (out.parent / name).write_bytes(image)
            partial.add(
                job.number,
                [
                    {**row, "image": name if image else None}
                    for name, (row, image) in zip(names, made, strict=True)
                ],
            )
        progress("eval", sum(map(len, done.values())), len(slots))
    lines = [json.dumps(row) + "\n" for number in sorted(done) for row in done[number]]
    key_file(out).unlink(missing_ok=True)  # first: a kill in between leaves results of no key, not of another
    write_atomic(out, "".join(lines).encode())
    write_atomic(key_file(out), f"{key}\n".encode())
    partial.path.unlink(missing_ok=True)
    return read_results(out, "geneval")
