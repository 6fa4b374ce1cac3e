"""What a model can be asked to draw. One record, two of them: drawn scenes and photographs.

A sampler reads what it needs from the vocabulary and refuses one that lacks it, so a recipe is written
once and serves every model whose vocabulary has its parts. Left out: which model knows which
vocabulary (``datagen.models.vocabulary``).
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from datagen.sample import Target
from datagen.scenes import captions
from datagen.scenes import vocabulary as scenes
from datagen.scenes.layout import layout_for
from datagen.targets import coco, knowledge, lettering
from datagen.targets.knowledge import Fact

Strings = Callable[[random.Random, int, int | None], str]  # (rng, words, letters) -> a string to be drawn


@dataclass(frozen=True)
class Vocabulary:
    """The things a model can be asked to draw. ``max_objects``: how many fit in one picture.

    ``states`` holds, by kind (orientation, structure, material), what can be true of which nouns;
    ``carriers`` are the nouns that lettering stands on (empty: on the picture itself); ``colorless``
    and ``uncounted`` are classes that are not asked for in a colour or in a number.
    """

    name: str
    classes: Mapping[str, str]  # singular -> plural
    colors: tuple[str, ...]
    sizes: tuple[str, ...]
    relations: tuple[str, ...]
    max_count: int
    max_objects: int
    more_colors: tuple[str, ...] = ()  # outside the set that detectors' colour rules know
    more_relations: tuple[str, ...] = ()  # depth: no rule on boxes tells them, a VQA judge can
    colorless: frozenset[str] = frozenset()
    uncounted: frozenset[str] = frozenset()
    pairs: frozenset[str] = frozenset()  # "a pair of scissors"
    states: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)
    styles: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    carriers: tuple[str, ...] = ()
    companions: Mapping[str, Sequence[str]] = field(default_factory=dict)  # class -> what is usually with it
    strings: Strings | None = None
    facts: Mapping[str, Fact] = field(default_factory=dict)  # hint -> what it stands for
    possible: Callable[[Target], bool] = lambda target: True

    def plural(self, noun: str) -> str:
        """Of a class, or of another noun that a target may hold."""
        return self.classes.get(noun) or coco.plural(noun)


def _fits_the_grid(target: Target) -> bool:
    try:
        layout_for(target, random.Random(target.key))
    except ValueError:
        return False
    return True


def _word(rng: random.Random, words: int, letters: int | None) -> str:
    found = [w for w in captions.WORDS if letters is None or len(w) == letters] if words == 1 else []
    if not found:
        raise LookupError("vocabulary 'scenes' draws one word of 3 to 5 letters")
    return rng.choice(found)


VOCABULARIES: dict[str, Vocabulary] = {
    "scenes": Vocabulary(
        "scenes",
        scenes.PLURALS,
        tuple(scenes.COLORS),
        scenes.SIZES,
        scenes.RELATIONS,
        max(scenes.NUMBERS),
        9,
        strings=_word,
        facts=knowledge.drawn(max(scenes.NUMBERS)),
        possible=_fits_the_grid,
    ),
    "coco": Vocabulary(
        "coco",
        coco.CLASSES,
        coco.COLORS,
        ("small", "large"),
        scenes.RELATIONS,
        10,
        16,
        more_colors=coco.MORE_COLORS,
        more_relations=("behind", "in front of"),
        colorless=frozenset({"person"}),
        uncounted=frozenset({"broccoli", "skis", "scissors", "person"}),
        pairs=coco.PAIRS,
        states={"orientation": coco.ORIENTATIONS, "structure": coco.STRUCTURES, "material": coco.MATERIALS},
        styles=coco.STYLES,
        settings=coco.SETTINGS,
        carriers=coco.CARRIERS,
        companions=coco.COMPANIONS,
        strings=lettering.compose,
        facts={**knowledge.drawn(10), **knowledge.WORLD},
    ),
}
