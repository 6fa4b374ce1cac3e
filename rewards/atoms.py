"""A target as atomic questions with dependencies (DSG, Cho et al. 2024; Soft-TIFA, GenEval 2).

Each atom is a question, the answer that a right picture gives, and the atoms without which it makes no
sense: a cup that is not there has no colour. Structured targets need no language model, so the
questions cannot drift from the target. Atoms that a target carries itself (``target.atoms``, for
orientation, structure, negation, style) are read by their fields and join the others.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from datagen.sample import Clause, Target
from rewards.base import readable

MAX_ATOMS = 64
NUMBERS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
)  # fmt: skip
PLACES = {
    "left of": "to the left of", "right of": "to the right of", "above": "above", "below": "below",
}  # fmt: skip


@dataclass(frozen=True)
class Atom:
    """``answers`` are the ways to write the expected answer; ``needs`` are earlier atoms' indices."""

    question: str
    answers: tuple[str, ...]
    kind: str
    needs: tuple[int, ...] = ()


_IRREGULAR = {
    "person": "people", "man": "men", "woman": "women", "child": "children", "knife": "knives", "mouse": "mice",
    "sheep": "sheep", "fish": "fish", "deer": "deer", "bus": "buses", "goose": "geese", "foot": "feet",
}  # fmt: skip


def plural(noun: str) -> str:
    """English plural of the last word of ``noun``, by rule; scissors and skis stay as they are."""
    rest, _, word = noun.rpartition(" ")
    if word in _IRREGULAR:
        word = _IRREGULAR[word]
    elif word.endswith(("ss", "x", "z", "ch", "sh")):
        word += "es"
    elif re.search(r"[^aeiou]y$", word):
        word = f"{word[:-1]}ies"
    elif not word.endswith("s"):
        word += "s"
    return f"{rest} {word}".strip()


def _a(words: str) -> str:
    return f"{'an' if words[:1].lower() in 'aeiou' else 'a'} {words}"


def _name(clause: Clause) -> str:
    return " ".join(x for x in (clause.size, clause.color, clause.cls) if x)


def _several(clause: Clause) -> str:
    return _name(clause) if clause.count == 1 else plural(_name(clause))


def number(count: int) -> tuple[str, ...]:
    """``("3", "three")``."""
    return (str(count), NUMBERS[count]) if count < len(NUMBERS) else (str(count),)


def atoms(target: Target) -> tuple[Atom, ...]:
    """The atoms of a target, parents before children. Raises ``ValueError`` above ``MAX_ATOMS``."""
    out: list[Atom] = []
    present: list[int] = []
    for clause in target.include:
        present.append(len(out))
        out += _clause_atoms(clause, len(out))
    for clause, parent in zip(target.include, present, strict=True):
        if clause.position:
            relation, other = clause.position
            place = PLACES.get(relation, relation)
            one, two = _several(clause), _several(target.include[other])
            question = f"{'Is' if clause.count == 1 else 'Are'} the {one} {place} the {two}?"
            out.append(Atom(question, ("yes",), "position", (parent, present[other])))
    counted = {c.cls: c.count for c in target.include if c.count > 1}
    for clause in target.exclude:
        if counted.get(clause.cls) == clause.count - 1:
            continue  # GenEval's upper bound of a count, which "how many" has asked already
        if clause.count == 1:
            out.append(Atom(f"Is there {_a(_name(clause))} in the image?", ("no",), "absence"))
        else:
            many = f"{NUMBERS[clause.count] if clause.count < len(NUMBERS) else clause.count} or more"
            out.append(Atom(f"Are there {many} {plural(_name(clause))} in the image?", ("no",), "absence"))
    for words in target.text:
        out.append(Atom(f'Does the image show the text "{readable(words, 200)}"?', ("yes",), "text"))
    out += [_given(row, out) for row in getattr(target, "atoms", ())]
    if len(out) > MAX_ATOMS:
        raise ValueError(f"the target has {len(out)} atoms; at most {MAX_ATOMS} are judged")
    return tuple(out)


def _clause_atoms(clause: Clause, start: int) -> list[Atom]:
    """Presence or count, then colour and size, which need it."""
    noun = clause.cls
    if clause.count == 1:
        found = [Atom(f"Is there {_a(noun)} in the image?", ("yes",), "object")]
        be, thing = "Is", noun
    else:
        found = [Atom(f"How many {plural(noun)} are in the image?", number(clause.count), "count")]
        be, thing = "Are", plural(noun)
    for kind, word in (("color", clause.color), ("size", clause.size)):
        if word:
            found.append(Atom(f"{be} the {thing} {word}?", ("yes",), kind, (start,)))
    return found


def _given(row: Any, before: Sequence[Atom]) -> Atom:
    """An atom that the target carries: an object or a mapping with at least ``question``.

    ``answer`` (or ``expected``) defaults to yes; ``needs`` (or ``parents``) are indices into the whole
    list. Raises ``ValueError`` for one without a question or with a parent that does not come before it.
    """

    def get(*names: str) -> Any:
        for name in names:
            value = row.get(name) if isinstance(row, dict) else getattr(row, name, None)
            if value is not None:
                return value
        return None

    question = get("question")
    if not isinstance(question, str) or not question.strip():
        raise ValueError(f"an atom of the target has no question: {str(row)[:80]}")
    answer = get("answers", "answer", "expected") or "yes"
    answers = (answer,) if isinstance(answer, str) else tuple(str(a) for a in answer)
    needs = tuple(int(n) for n in get("needs", "parents") or ())
    if any(not 0 <= n < len(before) for n in needs):
        raise ValueError(f"atom {question[:60]!r} needs an atom that does not come before it")
    return Atom(readable(question, 400), answers, str(get("kind", "type") or "atom"), needs)


def combine(atoms: Sequence[Atom], chances: Sequence[float], certain: float = 0.5) -> list[float]:
    """[atoms] probabilities with dependencies: a child of an atom below ``certain`` counts 0, as in DSG."""
    held: list[float] = []
    for atom, chance in zip(atoms, chances, strict=True):
        lost = any(held[parent] < certain for parent in atom.needs)
        held.append(0.0 if lost else min(max(chance, 0.0), 1.0))
    return held
