"""Suites: the prompts a model is evaluated on. Held-out targets, in wording the template writer never uses.

``scenes`` mirrors GenEval's six tags on the pocket model's world.
"""

import random
from collections.abc import Callable

from datagen.errors import InputError
from datagen.prompts import check_prompt, phrase
from datagen.registry import resolve
from datagen.sample import Sample, content_id
from datagen.targets import VOCABULARIES, sample_targets

TAGS = ("single_object", "two_object", "counting", "colors", "position", "color_attr")
OPENINGS = ("an image of", "a scene with", "draw", "a sketch of", "a clean picture that shows", "here is",
            "imagine", "a sticker sheet with", "I want to see")  # fmt: skip
ENDINGS = ("in a simple scene", "on a blank page", "with nothing else", "in the picture", "in a quiet room", "",
           "", "")  # fmt: skip

SUITES: dict[str, str] = {"scenes": "datagen.suites:scenes_suite"}


def scenes_suite(per_category: int = 60, seed: int = 0) -> list[Sample]:
    """``per_category`` distinct prompts for each of GenEval's six tags, targets on the held-out side."""
    vocabulary = VOCABULARIES["scenes"]
    samples: list[Sample] = []
    for tag in TAGS:
        rng = random.Random(f"suite/{tag}/{seed}")
        targets = sample_targets(tag, vocabulary, 40 * per_category, seed, {}, held_out=True)
        prompts: dict[str, Sample] = {}
        for target in targets:
            words = (rng.choice(OPENINGS), phrase(target, vocabulary, rng.randrange(3)), rng.choice(ENDINGS))
            text = " ".join(x for x in words if x)
            text = text[0].upper() + text[1:] + rng.choice(("", "."))
            assert not check_prompt(text, target, vocabulary), text
            key = text.lower().rstrip(".")
            prompts.setdefault(
                key, Sample(text, target, group_id=content_id("scenes", text), recipe="scenes", weakness=tag)
            )
            if len(prompts) == per_category:
                break
        if len(prompts) < per_category:
            raise InputError(
                f"suite scenes: only {len(prompts)} distinct prompts for {tag}, not {per_category}"
            )
        samples += prompts.values()
    return samples


def load_suite(name: str, per_category: int = 60, seed: int = 0) -> list[Sample]:
    """The suite called ``name``. Raises ``UnknownName`` with the valid names."""
    make: Callable[[int, int], list[Sample]] = resolve("suite", name, SUITES)
    return make(per_category, seed)
