"""Samplers of what GenEval does not ask: lettering, knowledge, orientation, structure, negation, style.

Each needs a part of the vocabulary and refuses one that lacks it, naming those that have it.
"""

import random
from typing import Literal

from datagen.errors import InputError
from datagen.sample import Clause, Target
from datagen.targets.objects import fitting, two_classes
from datagen.targets.params import Share
from datagen.targets.vocabulary import VOCABULARIES, Vocabulary

Riddle = Literal["number", "color", "both", "pair", "thing"]


def _needs(vocabulary: Vocabulary, have: bool, what: str, part: str) -> None:
    if not have:
        others = ", ".join(v.name for v in VOCABULARIES.values() if getattr(v, part)) or "none"
        raise InputError(f"vocabulary {vocabulary.name!r} has no {what}; vocabularies that have: {others}")


def _maybe_color(vocabulary: Vocabulary, rng: random.Random, share: float, cls: str) -> str | None:
    color = rng.choice(vocabulary.colors) if rng.random() < share else None
    return fitting(vocabulary, cls, color)


def text_rendering(
    vocabulary: Vocabulary,
    rng: random.Random,
    *,
    words: list[int] | None = None,
    letters: list[int] | None = None,
    spans: int = 1,
    colored: Share = 0.3,
) -> Target:
    """``spans`` quoted strings, each of a length drawn from ``words`` (default one word).

    ``letters`` sets the length of one-word strings. Where the vocabulary has carriers, each string
    stands on one of them, some coloured.
    """
    strings = vocabulary.strings
    _needs(vocabulary, strings is not None, "strings to draw", "strings")
    most = 3 if vocabulary.carriers else 1
    if not 1 <= spans <= most:
        raise InputError(f"targets.params.spans: {spans} must lie within 1..{most}")
    drawn = []
    for _ in range(spans):
        length = rng.choice(words or [1])
        try:
            assert strings is not None
            drawn.append(strings(rng, length, rng.choice(letters) if letters and length == 1 else None))
        except LookupError as error:
            raise InputError(f"targets.params: {error.args[0]}") from error
    nouns = rng.sample(vocabulary.carriers, spans) if vocabulary.carriers else []
    on = tuple(Clause(noun, color=_maybe_color(vocabulary, rng, colored, noun)) for noun in nouns)
    return Target("text_rendering", on, text=tuple(drawn))


def world_knowledge(
    vocabulary: Vocabulary,
    rng: random.Random,
    *,
    riddles: list[Riddle] | None = None,
    setting: Share = 0.3,
) -> Target:
    """The prompt hints at a number, a colour, both, or the thing itself; facts are equally likely.

    ``pair``: the number of one thing and the colour of another.

    Pretraining sees common facts more often than rare ones: equal odds are where the weakness is.
    """
    _needs(vocabulary, bool(vocabulary.facts), "facts", "facts")
    by_kind: dict[str, list[str]] = {}
    for hint, fact in vocabulary.facts.items():
        by_kind.setdefault(fact.kind, []).append(hint)
    kind = rng.choice(riddles or ["number", "color", "both", *(["thing"] * 3 if "thing" in by_kind else [])])
    if kind == "thing":
        _needs(vocabulary, "thing" in by_kind, "riddles about things", "settings")
        hint = rng.choice(by_kind["thing"])
        thing = vocabulary.facts[hint].thing
        assert thing is not None
        place = rng.choice(vocabulary.settings) if not thing.state and rng.random() < setting else ""
        return Target("world_knowledge", (thing,), setting=place, facts=(hint,))
    classes = [c for c in vocabulary.classes if c not in vocabulary.uncounted | vocabulary.colorless]
    cls, facts, count, color = rng.choice(classes), [], 1, None
    if kind in ("number", "both", "pair"):
        facts.append(rng.choice(by_kind["number"]))
        count = vocabulary.facts[facts[-1]].number
    if kind in ("color", "both", "pair"):
        facts.append(rng.choice(by_kind["color"]))
        color = vocabulary.facts[facts[-1]].color
    above = (Clause(cls, count + 1),) if kind != "color" else ()
    include: tuple[Clause, ...] = (Clause(cls, count, color),)
    if kind == "pair":
        other = rng.choice([c for c in classes if c != cls])
        include = (Clause(cls, count), Clause(other, color=color))
    return Target("world_knowledge", include, above, facts=tuple(facts))


def _state(kind: str, vocabulary: Vocabulary, rng: random.Random, colored: float) -> Target:
    _needs(vocabulary, kind in vocabulary.states, f"{kind}s", "states")
    state = rng.choice(tuple(vocabulary.states[kind]))
    noun = rng.choice(vocabulary.states[kind][state])
    return Target(kind, (Clause(noun, color=_maybe_color(vocabulary, rng, colored, noun), state=state),))


def orientation(vocabulary: Vocabulary, rng: random.Random, *, colored: Share = 0.3) -> Target:
    """One object in an unusual orientation: "a mug standing upside down"."""
    return _state("orientation", vocabulary, rng, colored)


def structure(vocabulary: Vocabulary, rng: random.Random, *, colored: Share = 0.3) -> Target:
    """One object whose structure is not the usual one: "a bent knife"."""
    return _state("structure", vocabulary, rng, colored)


def negation(
    vocabulary: Vocabulary, rng: random.Random, *, colored: Share = 0.3, companion: Share = 0.7
) -> Target:
    """One class that is there and one that is not: "a dining table without a chair".

    ``companion``: the share whose absent class is one that usually stands beside the present one,
    which is where models fail; elsewhere any other class.
    """
    first, second = two_classes(vocabulary, rng)
    if vocabulary.companions and rng.random() < companion:
        first = rng.choice(tuple(vocabulary.companions))
        second = rng.choice(vocabulary.companions[first])
    color = _maybe_color(vocabulary, rng, colored, first)
    return Target("negation", (Clause(first, color=color),), (Clause(second, 1),))


def style(vocabulary: Vocabulary, rng: random.Random, *, colored: Share = 0.3, second: Share = 0.3) -> Target:
    """One object, sometimes two, in a style that the whole picture must have."""
    _needs(vocabulary, bool(vocabulary.styles), "styles", "styles")
    first, other = two_classes(vocabulary, rng)
    clauses = [Clause(first, color=_maybe_color(vocabulary, rng, colored, first))]
    if rng.random() < second:
        clauses.append(Clause(other))
    return Target("style", tuple(clauses), style=rng.choice(vocabulary.styles))
