"""GenEval's printed summary, as people paste it: ``counting  = 76.56% (245 / 320)``.

Only totals are known, so the intervals built on it are widened and say so.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from datagen.errors import ResultsError
from datagen.evals.rows import EvalRow

LINE = re.compile(r"^\s*([a-z][a-z_]*)\s*=\s*([\d.]+)%\s*\((\d+)\s*/\s*(\d+)\)\s*$", re.MULTILINE)


def matches(head: str) -> bool:
    return LINE.search(head) is not None


def read(path: Path) -> Iterator[EvalRow]:
    """One row a category. Raises ``ResultsError`` where percentage and counts disagree."""
    seen: set[str] = set()
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        match = LINE.match(line)
        if not match:
            continue
        tag, percent, right, total = match[1], float(match[2]), int(match[3]), int(match[4])
        if tag in seen:
            raise ResultsError(f"{path}:{number}: {tag} appears twice")
        if not 0 <= right <= total or total == 0 or abs(100 * right / total - percent) > 0.01:
            raise ResultsError(f"{path}:{number}: {percent}% is not {right} / {total}")
        seen.add(tag)
        yield EvalRow(prompt_id=tag, prompt="", category=tag, score=right / total, summary=total)
