"""Targets: what must be true of the image, drawn at random by a sampler from a vocabulary.

A sampler is a function ``(vocabulary, rng, *, its parameters) -> Target`` and a line in ``SAMPLERS``; the
keyword-only parameters, with their types and defaults, are the schema of a recipe's ``targets.params``.
Also here: the split that keeps every evaluation target out of every build. What is left out: wording,
which ``prompts`` and ``suites`` do.
"""

import random
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any

from datagen.errors import InputError
from datagen.registry import resolve
from datagen.sample import Target, content_seed
from datagen.targets.params import checked
from datagen.targets.vocabulary import VOCABULARIES, Vocabulary

__all__ = [
    "SAMPLERS",
    "VOCABULARIES",
    "Vocabulary",
    "draw_targets",
    "is_held_out",
    "sample_targets",
    "sampler",
]

HELD_OUT = 3  # one target key of three belongs to evaluation
PATIENCE = 2000  # draws in a row on the wrong side of the split before giving up

SAMPLERS: dict[str, str] = {
    # GenEval's six skills
    "single_object": "datagen.targets.objects:single_object",
    "two_object": "datagen.targets.objects:two_object",
    "counting": "datagen.targets.objects:counting",
    "colors": "datagen.targets.objects:colors",
    "position": "datagen.targets.objects:position",
    "color_attr": "datagen.targets.objects:color_attr",
    # beyond them
    "dense": "datagen.targets.dense:dense",
    "text_rendering": "datagen.targets.beyond:text_rendering",
    "world_knowledge": "datagen.targets.beyond:world_knowledge",
    "orientation": "datagen.targets.beyond:orientation",
    "structure": "datagen.targets.beyond:structure",
    "negation": "datagen.targets.beyond:negation",
    "style": "datagen.targets.beyond:style",
    # mixtures: the paper's baselines
    "broad": "datagen.targets.mixtures:broad",
    "benchmark_aligned": "datagen.targets.mixtures:benchmark_aligned",
}

Sampler = Callable[..., Target]


def sampler(name: str, params: Mapping[str, Any]) -> Callable[[Vocabulary, random.Random], Target]:
    """The sampler called ``name`` with its parameters set and checked.

    Raises ``UnknownName``, or ``InputError`` naming the parameter and the choices.
    """
    draw: Sampler = resolve("target sampler", name, SAMPLERS)
    given = checked(draw, params)
    return lambda vocabulary, rng: draw(vocabulary, rng, **given)


def is_held_out(target: Target) -> bool:
    """Whether a target belongs to evaluation. By its canonical key, so no wording can leak it."""
    return content_seed("held-out", target.key) % HELD_OUT == 0


def draw_targets(
    name: str, vocabulary: Vocabulary, seed: int, params: Mapping[str, Any], held_out: bool = False
) -> Iterator[Target]:
    """Targets without end on the building side of the split, or on the evaluation side. May repeat.

    Raises ``UnknownName`` for the sampler, ``InputError`` for parameters it does not take, for a
    vocabulary that lacks what it needs, and where the split leaves it nothing.
    """
    draw = sampler(name, params)
    rng = random.Random(f"{name}/{vocabulary.name}/{seed}/{held_out}")
    misses = 0
    while misses <= PATIENCE:
        target = draw(vocabulary, rng)
        if is_held_out(target) == held_out:
            misses = 0
            yield target
        else:
            misses += 1
    raise InputError(f"sampler {name!r} draws no target on this side of the held-out split")


def sample_targets(
    name: str, vocabulary: Vocabulary, n: int, seed: int, params: Mapping[str, Any], held_out: bool = False
) -> list[Target]:
    """The first ``n`` of ``draw_targets``."""
    return list(islice(draw_targets(name, vocabulary, seed, params, held_out), n))
