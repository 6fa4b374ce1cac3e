"""The question sheets of DPG-Bench and DSG-1k (``dpg_bench.csv``, ``dsg-1k-anns.csv``): same columns.

They say which category a question belongs to and what the prompt was; results files do not.
"""

from collections import Counter
from pathlib import Path
from typing import NamedTuple

from datagen.evals.files import Source, records

COLUMNS = (
    "item_id",
    "text",
    "proposition_id",
    "category_broad",
    "category_detailed",
    "question_natural_language",
)


class Question(NamedTuple):
    prompt: str
    broad: str  # L1: entity, attribute, relation, global, other
    detailed: str  # L2: "attribute - color"
    parents: tuple[str, ...]


def find(source: Source) -> Path | None:
    return source.companion(*COLUMNS, beside=("dpg_bench.csv", "dsg-1k-anns.csv"))


def repeats(path: Path) -> Counter[tuple[str, str]]:
    """How often each image is asked a question of the same words: some sheets do so twice."""
    return Counter((r["item_id"], r["question_natural_language"].strip()) for _, r in records(path, COLUMNS))


def questions(path: Path) -> dict[tuple[str, str], Question]:
    """``(item_id, proposition_id)`` and ``(item_id, question text)`` -> the question."""
    out: dict[tuple[str, str], Question] = {}
    for _, row in records(path, COLUMNS, "a question sheet"):
        broad, detailed = row["category_broad"].strip().lower(), row["category_detailed"].strip().lower()
        whole = broad if detailed in ("", "-") else f"{broad} - {detailed}"
        parents = tuple(p.strip() for p in row.get("dependency", "").split(",") if p.strip() not in ("", "0"))
        question = Question(row["text"], broad, whole, parents)
        out[row["item_id"], row["proposition_id"].strip()] = question
        out[row["item_id"], row["question_natural_language"].strip()] = question
    return out
