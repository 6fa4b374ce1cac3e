"""Long prompts of many atoms, as DPG-Bench asks them: objects, attributes, relations, the whole scene.

Every object is of another class, so that "the bench" names one; each relation holds to the object said
before. A scene that no layout can satisfy is drawn again.
"""

import random

from datagen.errors import InputError
from datagen.sample import Clause, Target
from datagen.targets.objects import fitting
from datagen.targets.params import Share
from datagen.targets.vocabulary import Vocabulary

TRIES = 100


def dense(
    vocabulary: Vocabulary,
    rng: random.Random,
    *,
    min: int = 3,
    max: int = 5,
    colored: Share = 0.7,
    sized: Share = 0.3,
    material: Share = 0.3,
    counted: Share = 0.2,
    related: Share = 0.4,
    setting: Share = 0.7,
    style: Share = 0.2,
) -> Target:
    """``min`` to ``max`` objects; the shares say how many objects (or scenes) have each attribute.

    What the vocabulary has not (materials, settings, styles), or its pictures have no room for
    (numbers in a grid), is left out.
    """
    most = len(vocabulary.classes) if len(vocabulary.classes) < 10 else 10
    if not 2 <= min <= max <= most:
        raise InputError(f"targets.params: min {min} and max {max} must lie within 2..{most}")
    materials = vocabulary.states.get("material", {})
    relations = (*vocabulary.relations, *vocabulary.more_relations)
    for _ in range(TRIES):
        clauses: list[Clause] = []
        for i, cls in enumerate(rng.sample(tuple(vocabulary.classes), rng.randint(min, max))):
            color = (
                rng.choice((*vocabulary.colors, *vocabulary.more_colors)) if rng.random() < colored else None
            )
            size = rng.choice(vocabulary.sizes) if vocabulary.sizes and rng.random() < sized else None
            fit = [name for name, nouns in materials.items() if cls in nouns]
            state = rng.choice(fit) if fit and rng.random() < material else None
            many = materials and not state and cls not in vocabulary.uncounted and rng.random() < counted
            count = rng.randint(2, 4) if many else 1
            relation = rng.choice(relations) if i and rng.random() < related else None
            place = (relation, i - 1) if relation else None
            clauses.append(Clause(cls, count, fitting(vocabulary, cls, color), size, place, state))
        target = Target(
            "dense",
            tuple(clauses),
            setting=rng.choice(vocabulary.settings) if vocabulary.settings and rng.random() < setting else "",
            style=rng.choice(vocabulary.styles) if vocabulary.styles and rng.random() < style else "",
        )
        if vocabulary.possible(target):
            return target
    raise InputError(f"sampler 'dense': {TRIES} draws in a row fit in no picture; lower targets.params.max")
