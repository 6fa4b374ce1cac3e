"""Rows of a weighted dataset to training examples. It executes weights; it knows no reward."""

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datagen.errors import TrainingError
from datagen.models.base import Example

if TYPE_CHECKING:
    from datasets import Dataset


def load_examples(path: Path, weight: tuple[str, ...]) -> "tuple[Dataset, int]":
    """The rows that teach something under ``weight``, all kept rows for plain SFT; and how many there were.

    A folder that has checksums is held against them first. Raises ``WorkError`` naming the file that is not
    as it was written, ``TrainingError`` with the reason when no row teaches, or when a weight is negative or
    not finite.
    """
    from datagen.checksums import CHECKSUMS, verify
    from datagen.dataset import load_weighted

    if (path / CHECKSUMS).exists():
        verify(path)
    rows = load_weighted(path, remote=True)
    weights = {m: list(rows[f"{m}_weight"]) for m in ("text", "image")}
    for modality, column in weights.items():
        if any(w is None or not 0 <= w < math.inf for w in column):
            raise TrainingError(f"{path}: {modality}_weight must be a number >= 0 in every row")
    if not len(rows):
        raise TrainingError(f"{path}: the dataset has no rows, so nothing would be learned")
    if not weight:
        return rows, len(rows)
    keep = [i for i in range(len(rows)) if any(weights[m][i] > 0 for m in weight)]
    if not keep:
        names = " and ".join(f"{m}_weight" for m in weight)
        raise TrainingError(
            f"{path}: {names} is 0 in all {len(rows)} rows, so nothing would be learned: no candidate reached "
            "its recipe's floor; build with more candidates, an easier recipe or a lower floor"
        )
    return rows.select(keep), len(rows)


def fingerprint(rows: "Dataset") -> str:
    """A hash of what is learned and how much, without decoding a picture: the same data, wherever it lies."""
    columns = [list(rows[c]) for c in ("prompt", "trace", "text_weight", "image_weight")]
    return hashlib.sha256(json.dumps(columns).encode()).hexdigest()[:16]


def applied_weights(rows: "Dataset", modality: str, weight: tuple[str, ...]) -> list[float]:
    """The weights of ``modality`` as ``to_example`` applies them."""
    if not weight:
        return [1.0] * len(rows)
    return list(rows[f"{modality}_weight"]) if modality in weight else [0.0] * len(rows)


def to_example(row: Mapping[str, Any], weight: tuple[str, ...]) -> Example:
    """One row under ``weight``: a modality that is not named weighs 0 (its picture is not even read); plain SFT weighs 1 on both."""
    return Example(
        prompt=row["prompt"],
        trace=row["trace"] or "",
        image=row["image"] if not weight or "image" in weight else None,
        text_weight=1.0 if not weight else row["text_weight"] if "text" in weight else 0.0,
        image_weight=1.0 if not weight else row["image_weight"] if "image" in weight else 0.0,
    )
