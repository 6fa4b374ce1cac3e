"""TIIF-Bench's folder ``eval_results/<model>/<attribute>/{short,long}/<idx>.json``, or one such file.

A file is one image: yes/no questions with the answers that are right and the judge's. A question is a
row, right where the two agree; the attribute is the category, short or long prompt a facet. The short
and the long wording of an index are one prompt to the statistics: they ask for the same image.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from datagen.errors import ResultsError
from datagen.evals.files import Source, parse_object
from datagen.evals.rows import EvalRow

NEEDED = ("attribute", "desc", "questions", "gt_answers", "model_pred")
LENGTHS = ("short", "long")
QUESTIONS = 1000  # of one image are numbered within this


def matches(source: Source) -> bool:
    if source.path.is_dir():
        files = (p for p in source.path.rglob("*.json") if p.parent.name in LENGTHS and p.stem.isdecimal())
        return next(files, None) is not None
    head = source.head.lstrip()
    return head.startswith("{") and all(f'"{key}"' in head for key in NEEDED)


def read(source: Source) -> Iterator[EvalRow]:
    root = source.path.absolute()  # "." is a folder of some model too
    if not root.is_dir():
        yield from _image(root, root.stem)
        return
    files = sorted(p for p in root.rglob("*.json") if p.parent.name in LENGTHS and p.stem.isdecimal())
    models = sorted({p.parents[2] for p in files})
    wanted = source.options.get("of")
    if wanted is not None:
        models = [m for m in models if m.name == wanted]
    if len(models) != 1:
        names = ", ".join(sorted({p.parents[2].name for p in files}))
        raise ResultsError(f"{root}: choose one model with --of: {names}")
    for path in files:
        if path.parents[2] == models[0]:
            yield from _image(path, path.stem)


def _image(path: Path, index: str) -> Iterator[EvalRow]:
    try:
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ResultsError(f"{path}: cannot be read: {error}") from error
    row = parse_object(path, 0, content, NEEDED, "TIIF")
    questions, right, said = row["questions"], row["gt_answers"], row["model_pred"]
    lists = (questions, right, said)
    if not all(isinstance(x, list) for x in lists) or not len(questions) == len(right) == len(said) > 0:
        raise ResultsError(f"{path}: questions, gt_answers and model_pred must be lists of one length")
    attribute, desc = row["attribute"], row["desc"]
    if not isinstance(attribute, str) or not attribute or not isinstance(desc, str):
        raise ResultsError(f"{path}: attribute and desc must be strings")
    length = next((x for x in LENGTHS if desc.startswith(x)), path.parent.name)
    for i, (question, wanted, answer) in enumerate(zip(*lists, strict=True)):
        if not isinstance(wanted, str) or not (answer is None or isinstance(answer, str)):
            raise ResultsError(f"{path}: answer {i} must be a string, not {json.dumps(answer)[:40]}")
        score = None if answer is None else float(answer.strip().lower() == wanted.strip().lower())
        yield EvalRow(
            f"{attribute}/{index}",
            "" if desc.endswith("_description") else desc,
            attribute,
            score,
            QUESTIONS * (length == "long") + i,
            f"{question} answered {answer}, not {wanted}",
            facets=(("prompt length", length),),
            benchmark="tiif",
        )
