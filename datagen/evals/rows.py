"""One judged image (or question about it), whatever benchmark it came from."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

EMPTY: Mapping[str, Any] = MappingProxyType({})
Facets = tuple[tuple[str, str], ...]


class EvalRow(NamedTuple):
    """``score`` in [0, 1], None: unscored. ``image`` counts the judgements of one prompt.

    A named tuple, not a dataclass: a million of them are made in a second instead of in three.
    """

    prompt_id: str
    prompt: str
    category: str
    score: float | None
    image: int = 0
    reason: str = ""
    metadata: Mapping[str, Any] = EMPTY
    extra: Mapping[str, Any] = EMPTY
    summary: int = 0  # > 0: the row stands for that many judgements, only reported as a total
    facets: Facets = ()  # what was asked for, as (dimension, value): ("count", "4"), ("color", "red")
    benchmark: str = ""
    line: int = 0  # where it stands in its file; 0: unknown
    stderr: float | None = None  # of a total, where the file has it
    ranked: bool = True  # False: no pass mark exists (a similarity), or a headline over other rows
    note: str = ""  # what a reader of the category's score must know
