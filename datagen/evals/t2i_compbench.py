"""T2I-CompBench's ``annotation*/vqa_result.json``: ``[{"question_id": 0, "answer": "0.8123"}, ...]``.

Give the folder of all categories, of one, or a single file. The category is the folder above
``annotation*``, or the evaluator where that folder names none (``examples``). ``question_id`` numbers
the images sorted by name; ten belong to a prompt, or as many as ``samples/`` beside it shows, which
also has the prompts. CLIP similarities have no pass mark: shown, ranked only against their own target.
"""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from datagen.errors import ResultsError
from datagen.evals.files import Source, number
from datagen.evals.json_stream import elements
from datagen.evals.rows import EvalRow

# The evaluator's folder -> what it measures. 3-in-1 is made of the others, and stands for them.
EVALUATORS = {"annotation_3_in_1": "complex", "annotation_blip": "attribute binding",
              "annotation_obj_detection_2d": "spatial", "annotation_obj_detection_3d": "3d spatial",
              "annotation_obj_detection": "spatial", "annotation_num": "numeracy",
              "annotation_clip": "non-spatial"}  # fmt: skip
UNNAMED = {"examples", "example", "labels", "output", "outputs", "results", ""}
IMAGES = 10  # of a prompt
SAMPLE = re.compile(r"^(?P<prompt>.+)_(?P<index>\d+)\.\w+$")


class _File(NamedTuple):
    path: Path
    category: str
    evaluator: str
    samples: Path


def matches(source: Source) -> bool:
    if source.path.is_dir():
        return next(source.path.rglob("annotation*/vqa_result.json"), None) is not None
    squeezed = "".join(source.head[:4096].split())
    return squeezed.startswith('[{"question_id":') and '"answer":' in squeezed[:200]


def read(source: Source) -> Iterator[EvalRow]:
    root = source.path
    found = (
        [_place(p) for p in sorted(root.rglob("annotation*/vqa_result.json"))]
        if root.is_dir()
        else [_place(root)]
    )
    whole = {f.samples for f in found if f.evaluator == "annotation_3_in_1"}
    taken: dict[str, Path] = {}
    for file in found:
        if re.fullmatch(r"annotation\d+_.*", file.evaluator):
            continue  # one noun phrase's answers: annotation_blip is their product
        if file.samples in whole and file.evaluator != "annotation_3_in_1":
            continue
        if file.category in taken:
            raise ResultsError(f"{file.path}: category {file.category!r} is also in {taken[file.category]}")
        taken[file.category] = file.path
        yield from _rows(file)


def _place(path: Path) -> _File:
    evaluator, above = path.parent.name, path.parent.parent
    folder = above.parent if above.name == "labels" else above
    named = folder.name not in UNNAMED and evaluator in EVALUATORS
    category = folder.name if named else EVALUATORS.get(evaluator, evaluator or "t2i-compbench")
    return _File(path, category, evaluator, folder / "samples")


def _rows(file: _File) -> Iterator[EvalRow]:
    prompts = _prompts(file.samples)
    similarity = file.evaluator == "annotation_clip"
    for line, key, row in elements(file.path):
        where = f"{file.path}:{line}"
        if key is not None or not isinstance(row, dict) or "question_id" not in row or "answer" not in row:
            raise ResultsError(f"{where}: must be a question_id with an answer, not {row!r:.40}")
        index = row["question_id"]
        if isinstance(index, bool) or not isinstance(index, int) or index < 0:
            raise ResultsError(f"{where}: question_id must be a whole number, not {index!r:.40}")
        score = None if row["answer"] is None else number(where, "answer", row["answer"])
        if prompts and index >= len(prompts):
            raise ResultsError(f"{where}: question {index}, but {file.samples} has {len(prompts)} images")
        prompt_id, prompt, image = (
            prompts[index] if prompts else (f"{index // IMAGES:05d}", "", index % IMAGES)
        )
        yield EvalRow(
            prompt_id, prompt, file.category, score, image, f"{EVALUATORS.get(file.evaluator, 'judge')} score {score}",
            benchmark="t2i-compbench", line=line, ranked=not similarity,
            note=f"a CLIP similarity without a pass mark: give --target {file.category}=..." if similarity else "",
        )  # fmt: skip


def _prompts(folder: Path) -> list[tuple[str, str, int]]:
    """``(id, prompt, image)`` by question_id: images in the order of the number that ends their name."""
    if not folder.is_dir():
        return []
    named = [m for m in map(SAMPLE.match, (p.name for p in folder.iterdir())) if m]
    counts: Counter[str] = Counter()
    out = []
    for match in sorted(named, key=lambda m: int(m["index"])):
        prompt = match["prompt"]
        out.append((prompt, prompt, counts[prompt]))
        counts[prompt] += 1
    return out
