"""Samplers of GenEval's six skills: which objects, how many, in which colour, where.

The order of random draws is part of a build's identity: a parameter may not change it for others.
"""

import random

from datagen.errors import InputError
from datagen.sample import Clause, Target
from datagen.targets.params import Share
from datagen.targets.vocabulary import Vocabulary


def one_class(vocabulary: Vocabulary, rng: random.Random) -> str:
    return rng.choice(tuple(vocabulary.classes))


def two_classes(vocabulary: Vocabulary, rng: random.Random) -> tuple[str, str]:
    first, second = rng.sample(tuple(vocabulary.classes), 2)
    return first, second


def colored(vocabulary: Vocabulary) -> tuple[str, ...]:
    """The classes that are asked for in a colour."""
    return tuple(c for c in vocabulary.classes if c not in vocabulary.colorless)


def fitting(vocabulary: Vocabulary, cls: str, color: str | None) -> str | None:
    """``color`` where it says something of ``cls``: not of a person, and no orange orange."""
    return None if cls in vocabulary.colorless or cls == color else color


def some_relations(vocabulary: Vocabulary, wanted: list[str] | None) -> tuple[str, ...]:
    """The relations asked for. Raises ``InputError`` for one that the vocabulary has not."""
    if wanted is None:
        return vocabulary.relations
    known = (*vocabulary.relations, *vocabulary.more_relations)
    if bad := [r for r in wanted if r not in known]:
        raise InputError(
            f"targets.params.relations: unknown {bad[0]!r} in vocabulary {vocabulary.name!r}; valid: {', '.join(known)}"
        )
    if not wanted:
        raise InputError("targets.params.relations: give at least one")
    return tuple(wanted)


def single_object(vocabulary: Vocabulary, rng: random.Random, *, sized: Share = 0.5) -> Target:
    """One object, a share of them with a size."""
    size = rng.choice(vocabulary.sizes) if vocabulary.sizes and rng.random() < sized else None
    return Target("single_object", (Clause(one_class(vocabulary, rng), size=size),))


def two_object(vocabulary: Vocabulary, rng: random.Random, *, sized: Share = 0.3) -> Target:
    """Two different classes, one of them sometimes with a size."""
    first, second = two_classes(vocabulary, rng)
    size = rng.choice(vocabulary.sizes) if vocabulary.sizes and rng.random() < sized else None
    return Target("two_object", (Clause(first, size=size), Clause(second)))


def counting(
    vocabulary: Vocabulary,
    rng: random.Random,
    *,
    min: int = 2,
    max: int | None = None,
    colored: Share = 0.5,
) -> Target:
    """``min`` to ``max`` objects of one class, one more excluded, as GenEval does."""
    most = vocabulary.max_count
    low, high = min, (6 if most > 6 else most) if max is None else max
    if not 1 <= low <= high <= most:
        raise InputError(f"targets.params: min {low} and max {high} must lie within 1..{most}")
    classes = tuple(c for c in vocabulary.classes if c not in vocabulary.uncounted)
    cls, count = rng.choice(classes), rng.randint(low, high)
    color = rng.choice(vocabulary.colors) if rng.random() < colored else None
    color = fitting(vocabulary, cls, color)
    return Target("counting", (Clause(cls, count, color),), (Clause(cls, count + 1),))


def colors(vocabulary: Vocabulary, rng: random.Random) -> Target:
    """One object in one colour."""
    cls = rng.choice(colored(vocabulary))
    return Target("colors", (Clause(cls, color=fitting(vocabulary, cls, rng.choice(vocabulary.colors))),))


def position(
    vocabulary: Vocabulary,
    rng: random.Random,
    *,
    colored: Share = 0.25,
    relations: list[str] | None = None,
) -> Target:
    """Two classes, the second placed relative to the first; a share carries one colour."""
    first, second = two_classes(vocabulary, rng)
    color = rng.choice(vocabulary.colors) if rng.random() < colored else None
    relation = rng.choice(some_relations(vocabulary, relations))
    clause = Clause(second, color=fitting(vocabulary, second, color), position=(relation, 0))
    return Target("position", (Clause(first), clause))


def color_attr(vocabulary: Vocabulary, rng: random.Random) -> Target:
    """Two classes in two different colours."""
    first, second = rng.sample(colored(vocabulary), 2)
    one, other = rng.sample(vocabulary.colors, 2)
    if first == one or second == other:  # an orange orange
        one, other = other, one
    return Target("color_attr", (Clause(first, color=one), Clause(second, color=other)))
