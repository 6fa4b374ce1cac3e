"""Targets: what must be true of the image, drawn at random by a sampler from a vocabulary.

A sampler is a function ``(vocabulary, rng, params) -> Target`` and a line in ``SAMPLERS``. Also
here: the split that keeps every evaluation target out of every build. What is left out: wording,
which ``prompts`` and ``suites`` do.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from datagen.errors import InputError
from datagen.registry import resolve
from datagen.sample import Clause, Target, content_seed
from datagen.scenes import vocabulary as scenes

HELD_OUT = 3  # one target key of three belongs to evaluation


@dataclass(frozen=True)
class Vocabulary:
    """The things a model can be asked to draw. ``max_objects``: how many fit in one picture."""

    name: str
    classes: Mapping[str, str]  # singular -> plural
    colors: tuple[str, ...]
    sizes: tuple[str, ...]
    relations: tuple[str, ...]
    max_count: int
    max_objects: int


VOCABULARIES: dict[str, Vocabulary] = {
    "scenes": Vocabulary(
        "scenes", scenes.PLURALS, tuple(scenes.COLORS), scenes.SIZES, scenes.RELATIONS, max(scenes.NUMBERS), 9
    ),
}

SAMPLERS: dict[str, str] = {
    "single_object": "datagen.targets:single_object",
    "two_object": "datagen.targets:two_object",
    "counting": "datagen.targets:counting",
    "colors": "datagen.targets:colors",
    "position": "datagen.targets:position",
    "color_attr": "datagen.targets:color_attr",
    "broad": "datagen.targets:broad",
}

Sampler = Callable[[Vocabulary, random.Random, Mapping[str, Any]], Target]


def single_object(vocabulary: Vocabulary, rng: random.Random, params: Mapping[str, Any]) -> Target:
    """One object, half of the time with a size."""
    size = rng.choice(vocabulary.sizes) if vocabulary.sizes and rng.random() < 0.5 else None
    return Target("single_object", (Clause(rng.choice(tuple(vocabulary.classes)), size=size),))


def _two_classes(vocabulary: Vocabulary, rng: random.Random) -> tuple[str, str]:
    first, second = rng.sample(tuple(vocabulary.classes), 2)
    return first, second


def two_object(vocabulary: Vocabulary, rng: random.Random, params: Mapping[str, Any]) -> Target:
    """Two different classes, one of them sometimes with a size."""
    first, second = _two_classes(vocabulary, rng)
    size = rng.choice(vocabulary.sizes) if vocabulary.sizes and rng.random() < 0.3 else None
    return Target("two_object", (Clause(first, size=size), Clause(second)))


def counting(vocabulary: Vocabulary, rng: random.Random, params: Mapping[str, Any]) -> Target:
    """``params.min`` to ``params.max`` objects of one class, one more excluded, as GenEval does."""
    low, high = int(params.get("min", 2)), int(params.get("max", min(6, vocabulary.max_count)))
    if not 1 <= low <= high <= vocabulary.max_count:
        raise InputError(f"counting: min {low} and max {high} must lie within 1..{vocabulary.max_count}")
    cls, count = rng.choice(tuple(vocabulary.classes)), rng.randint(low, high)
    color = rng.choice(vocabulary.colors) if rng.random() < 0.5 else None
    return Target("counting", (Clause(cls, count, color),), (Clause(cls, count + 1),))


def colors(vocabulary: Vocabulary, rng: random.Random, params: Mapping[str, Any]) -> Target:
    """One object in one colour."""
    return Target(
        "colors", (Clause(rng.choice(tuple(vocabulary.classes)), color=rng.choice(vocabulary.colors)),)
    )


def position(vocabulary: Vocabulary, rng: random.Random, params: Mapping[str, Any]) -> Target:
    """Two classes, the second placed relative to the first; a quarter carry one colour."""
    first, second = _two_classes(vocabulary, rng)
    color = rng.choice(vocabulary.colors) if rng.random() < 0.25 else None
    relation = rng.choice(vocabulary.relations)
    return Target("position", (Clause(first), Clause(second, color=color, position=(relation, 0))))


def color_attr(vocabulary: Vocabulary, rng: random.Random, params: Mapping[str, Any]) -> Target:
    """Two classes in two different colours."""
    first, second = _two_classes(vocabulary, rng)
    one, other = rng.sample(vocabulary.colors, 2)
    return Target("color_attr", (Clause(first, color=one), Clause(second, color=other)))


BROAD = {"single_object": 4, "colors": 3, "two_object": 3, "color_attr": 2, "counting": 1, "position": 1}


def broad(vocabulary: Vocabulary, rng: random.Random, params: Mapping[str, Any]) -> Target:
    """Any skill, in the proportions of ordinary captions: mostly simple."""
    tag = rng.choices(tuple(BROAD), tuple(BROAD.values()))[0]
    sampler: Sampler = resolve("target sampler", tag, SAMPLERS)
    return sampler(vocabulary, rng, {})


def is_held_out(target: Target) -> bool:
    """Whether a target belongs to evaluation. By its canonical key, so no wording can leak it."""
    return content_seed("held-out", target.key) % HELD_OUT == 0


def sample_targets(
    sampler: str, vocabulary: Vocabulary, n: int, seed: int, params: Mapping[str, Any], held_out: bool = False
) -> list[Target]:
    """``n`` targets on the building side of the split, or on the evaluation side. May repeat.

    Raises ``UnknownName`` for the sampler, ``InputError`` where the split leaves it nothing.
    """
    draw: Sampler = resolve("target sampler", sampler, SAMPLERS)
    rng = random.Random(f"{sampler}/{vocabulary.name}/{seed}/{held_out}")
    targets: list[Target] = []
    misses = 0
    while len(targets) < n:
        target = draw(vocabulary, rng, params)
        if is_held_out(target) == held_out:
            targets.append(target)
            misses = 0
        else:
            misses += 1
            if misses > 2000:
                raise InputError(f"sampler {sampler!r} draws no target on this side of the held-out split")
    return targets
