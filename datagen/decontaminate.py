"""Drop prompts that overlap evaluation prompts: same words, or same target in other words.

n-gram filters miss short prompts (46% of GenEval's have under eight words), so the canonical target
key does the work, and a normalised exact match covers prompts without a target.
"""

import re
from collections.abc import Iterable, Sequence

from datagen.sample import Sample


def normalise(prompt: str) -> str:
    """Lower-case words only, articles dropped."""
    words = re.findall(r"[a-z0-9']+", prompt.lower())
    return " ".join(w for w in words if w not in ("a", "an", "the"))


def decontaminate(
    samples: Sequence[Sample], held_out: Iterable[Sample]
) -> tuple[list[Sample], dict[str, int]]:
    """The samples that no evaluation prompt overlaps, and how many were dropped by reason."""
    evaluation = list(held_out)
    words = {normalise(s.prompt) for s in evaluation}
    keys = {s.target.key for s in evaluation}
    kept: list[Sample] = []
    dropped = {"same words as an evaluation prompt": 0, "same target as an evaluation prompt": 0}
    for sample in samples:
        if normalise(sample.prompt) in words:
            dropped["same words as an evaluation prompt"] += 1
        elif sample.target.key in keys:
            dropped["same target as an evaluation prompt"] += 1
        else:
            kept.append(sample)
    return kept, {k: n for k, n in dropped.items() if n}
