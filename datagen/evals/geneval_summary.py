"""GenEval's printed summary, as people paste it: ``counting  = 76.56% (245 / 320)``.

Only totals are known, so the intervals built on it are widened and say so.
"""

import re
from collections.abc import Iterator

from datagen.errors import ResultsError
from datagen.evals.files import Source, lines
from datagen.evals.rows import EvalRow

LINE = re.compile(r"^\s*([a-z][a-z_]*)\s*=\s*([\d.]+)%\s*\((\d+)\s*/\s*(\d+)\)\s*$", re.MULTILINE)
BEGUN = re.compile(r"^\s*[a-z][a-z_]*\s*=(?!=)")


def matches(source: Source) -> bool:
    return LINE.search(source.head) is not None and not source.head.lstrip().startswith(("{", "["))


def read(source: Source) -> Iterator[EvalRow]:
    """One row a category. Raises ``ResultsError`` where percentage and counts disagree."""
    path = source.path
    seen: set[str] = set()
    for number, line in lines(path):
        match = LINE.match(line)
        if not match:
            if BEGUN.match(line) or line.lstrip().startswith("{"):
                raise ResultsError(f"{path}:{number}: not 'tag = 76.56% (245 / 320)': {line.strip()!r:.60}")
            continue
        tag, percent, right, total = match[1], match[2], int(match[3]), int(match[4])
        if tag in seen:
            raise ResultsError(f"{path}:{number}: {tag} appears twice")
        try:
            agrees = 0 <= right <= total and total > 0 and abs(100 * right / total - float(percent)) <= 0.01
        except (ValueError, OverflowError):
            agrees = False
        if not agrees:
            raise ResultsError(f"{path}:{number}: {percent}% is not {right} / {total}")
        seen.add(tag)
        yield EvalRow(
            tag, "", tag, right / total, summary=total, benchmark="geneval", line=number,
            note="totals only: interval widened by the usual design effect of 2.5",
        )  # fmt: skip
