"""One judged image, whatever benchmark it came from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class EvalRow:
    """``score`` in [0, 1], None: unscored. ``image`` counts the images of one prompt.

    ``summary`` > 0: the row stands for that many images that were only reported as a total.
    """

    prompt_id: str
    prompt: str
    category: str
    score: float | None
    image: int = 0
    reason: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)
    summary: int = 0
