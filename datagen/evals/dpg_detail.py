"""DPG-Bench's ``..._results_detail.txt``: a line a question, ``path, (x0, y0, x1, y1), question, answer``.

Questions contain commas, so a line is read from both ends. With ``dpg_bench.csv`` beside it (or given
with ``--benchmark``) a question has its L1 category, its L2 as a facet and its prompt, and is zeroed
where a parent question is answered "no", as the headline does; without it all form one category.
"""

import re
import zlib
from array import array
from collections import Counter
from collections.abc import Iterator

from datagen.errors import ResultsError
from datagen.evals import annotations
from datagen.evals.files import Source, lines
from datagen.evals.rows import EvalRow

LINE = re.compile(r"^(?P<path>.+?), \((?P<crop>\d+, \d+, \d+, \d+)\), (?P<question>.+), (?P<answer>[^,]*)$")
YES_NO = {"yes": 1.0, "no": 0.0}


def matches(source: Source) -> bool:
    return LINE.match(source.first_line.rstrip("\r")) is not None


def read(source: Source) -> Iterator[EvalRow]:
    path = source.path
    sheet = annotations.find(source)
    known, often = (annotations.questions(sheet), annotations.repeats(sheet)) if sheet else ({}, Counter())
    crops: dict[str, int] = {}
    asked: dict[tuple[str, int], array[int]] = {}  # image and crop -> hashes of its questions, in order
    for at, line in lines(path, complete=True):
        match = LINE.match(line)
        if not match:
            raise ResultsError(f"{path}:{at}: not 'path, (x0, y0, x1, y1), question, answer': {line!r:.60}")
        item = re.split(r"[/\\]", match["path"])[-1].rsplit(".", 1)[0]
        crop = crops.setdefault(match["crop"], len(crops))
        seen = asked.setdefault((item, crop), array("L"))
        hashed = zlib.crc32(match["question"].encode())
        seen.append(hashed)
        question = known.get((item, match["question"].strip()))
        if known and question is None:
            raise ResultsError(
                f"{path}:{at}: {sheet} has no such question for {item!r}: {match['question']!r:.60}"
            )
        if known and seen.count(hashed) > often[item, match["question"].strip()]:
            raise ResultsError(
                f"{path}:{at}: {match['question']!r:.60} is there twice for {item} (crop {crop})"
            )
        answer = match["answer"].strip().lower()
        if not answer:
            raise ResultsError(f"{path}:{at}: no answer")
        yield EvalRow(
            item,
            question.prompt if question else "",
            question.broad if question else "questions",
            YES_NO.get(answer, 0.0),  # the benchmark counts anything but "yes" as wrong
            10_000 * crop + len(seen),
            f"{match['question']} answered {answer}",
            facets=(("L2", question.detailed),) if question else (),
            benchmark="dpg-bench",
            line=at,
            note="raw answers, as the benchmark's L1 and L2 scores"
            if question
            else "no dpg_bench.csv: give it with --benchmark to see the L1 and L2 categories",
        )
    for (item, crop), hashes in asked.items():
        if len(hashes) > 1 and min(Counter(hashes).values()) > 1:
            raise ResultsError(
                f"{path}: every question of {item} (crop {crop}) is there twice: a run appended to itself?"
            )
