"""Mixtures of the other samplers: the paper's two baselines, against which targeted data is held.

``broad`` is image-text data as it comes, ``benchmark_aligned`` a benchmark's own skills in its own
proportions (never its targets: those are held out).
"""

import random
from collections.abc import Mapping
from functools import cache

from datagen.errors import InputError
from datagen.sample import Target
from datagen.targets.objects import color_attr, colors, counting, position, single_object, two_object
from datagen.targets.vocabulary import Vocabulary

BROAD: Mapping[str, float] = {
    "single_object": 4, "colors": 3, "two_object": 3, "color_attr": 2, "counting": 1, "position": 1,
}  # fmt: skip
GENEVAL = {  # its prompts by tag
    "single_object": 80, "two_object": 99, "counting": 80, "colors": 94, "position": 100, "color_attr": 100,
}  # fmt: skip


def broad(vocabulary: Vocabulary, rng: random.Random, *, mix: dict[str, float] | None = None) -> Target:
    """Any skill, in the proportions of ordinary captions (mostly simple), or in those of ``mix``."""
    from datagen.targets import sampler

    odds = BROAD if mix is None else _checked(tuple(sorted(mix.items())))
    tag = rng.choices(tuple(odds), tuple(odds.values()))[0]
    return sampler(tag, {})(vocabulary, rng)


@cache
def _checked(items: tuple[tuple[str, float], ...]) -> dict[str, float]:
    from datagen.targets import SAMPLERS

    mix = dict(items)
    valid = [name for name in SAMPLERS if name not in ("broad", "benchmark_aligned")]
    if bad := [name for name in mix if name not in valid]:
        raise InputError(f"targets.params.mix: unknown sampler {bad[0]!r}; valid: {', '.join(valid)}")
    if not mix or min(mix.values()) < 0 or not sum(mix.values()):
        raise InputError("targets.params.mix: shares must not be negative, and one must be above 0")
    return mix


def benchmark_aligned(vocabulary: Vocabulary, rng: random.Random) -> Target:
    """GenEval's six skills in GenEval's proportions, its counts and nothing it does not ask for."""
    tag = rng.choices(tuple(GENEVAL), tuple(GENEVAL.values()))[0]
    if tag == "single_object":
        return single_object(vocabulary, rng, sized=0)
    if tag == "two_object":
        return two_object(vocabulary, rng, sized=0)
    if tag == "counting":
        return counting(vocabulary, rng, min=2, max=4, colored=0)
    if tag == "position":
        return position(vocabulary, rng, colored=0)
    return (colors if tag == "colors" else color_attr)(vocabulary, rng)
