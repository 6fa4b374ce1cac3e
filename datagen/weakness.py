"""One weakness: a category, or a part of one, with all that is known of it; and the file that lists them."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from datagen.errors import InputError


@dataclass(frozen=True)
class Weakness:
    """A category or a part of one. Scores in [0, 1]; ``gap`` = target - score; ``budget`` a share, 0 if not weak.

    ``label`` is for people, ``id`` for programs. ``split``: the facet by which it is split, whose parts
    follow it and carry the budget. ``shrunk``: the score after shrinkage, which ranking uses.
    """

    id: str
    category: str
    n: int
    prompts: int
    score: float
    low: float
    high: float
    target: float
    gap: float
    probability: float
    shortfall: float
    budget: float
    recipe: str | None
    examples: tuple[str, ...] = ()
    note: str = ""
    label: str = ""
    benchmark: str = ""
    parent: str | None = None
    facets: dict[str, str] = field(default_factory=dict)
    shrunk: float = 0.0
    verdict: str = ""  # weak, likely, unclear, fine, too few, shown
    split: str = ""
    suggestion: str | None = None  # a recipe that would target it and does not exist here
    failures: dict[str, int] = field(default_factory=dict)
    rate: float | None = None  # the recipe's yield so far
    advice: str = ""
    unscored: int = field(default=0, compare=False)


def by_note(found: Sequence[Weakness]) -> list[tuple[str, list[str]]]:
    """Each note with the places it belongs to, in order."""
    notes: dict[str, list[str]] = {}
    for w in found:
        unscored = f"{w.unscored} unscored, left out" if w.unscored else ""
        for note in filter(None, (*w.note.split("; "), unscored)):
            notes.setdefault(note, []).append(w.label or w.category)
    return list(notes.items())


def write_weaknesses(path: Path, weaknesses: Sequence[Weakness]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([asdict(w) for w in weaknesses], indent=2) + "\n", encoding="utf-8")


def read_weaknesses(path: Path) -> list[Weakness]:
    """Raises ``InputError`` naming the file."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        return [Weakness(**{**row, "examples": tuple(row["examples"])}) for row in rows]
    except OSError as error:
        raise InputError(f"{path}: missing; run datagen weaknesses first") from error
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path}: not a weaknesses file: {error}") from error
