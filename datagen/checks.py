"""What a build refuses before it writes anything: unknown names, recipes that do not serve the model."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from datagen.decontaminate import Evaluation, read_prompts
from datagen.errors import InputError, RecipeError
from datagen.models.vocabulary import vocabulary_of
from datagen.recipe import Recipe
from datagen.registry import resolve
from datagen.suites import evaluation_of
from datagen.targets import Vocabulary

SCENES_ONLY = ("scenes", "lettering", "trace", "follows")  # rewards that read 48 px scenes or their layouts


def _check_names(recipes: Sequence[Recipe], model: str) -> None:
    """Refuse what can be refused without loading anything: a typo must not leave a run directory."""
    from datagen.models import check_name
    from rewards import REWARDS

    if twice := [name for name, n in Counter(r.name for r in recipes).items() if n > 1]:
        raise InputError(f"recipe {twice[0]!r} is given twice; a run holds one recipe of a name")
    check_name(model)
    for recipe in recipes:
        for name in recipe.reward_names:
            try:
                resolve("reward", name, REWARDS)
            except InputError as error:
                raise RecipeError(f"recipe {recipe.name!r}: rewards: {error}") from error


def resolved(recipes: Sequence[Recipe], model: str) -> list[Recipe]:
    """The recipes as they are for the model's vocabulary, all names in them checked.

    Raises ``RecipeError`` for one that does not serve it, or whose reward judges only drawn scenes.
    """
    _check_names(recipes, model)
    vocabulary = vocabulary_of(model)
    out = []
    for recipe in recipes:
        if not recipe.serves(vocabulary):
            raise RecipeError(
                f"recipe {recipe.name!r} serves models that know the vocabulary {', '.join(recipe.vocabularies)}; "
                f"model {model!r} knows {vocabulary}"
            )
        out.append(recipe.for_vocabulary(vocabulary))
        blind = [name for name in out[-1].reward_names if name in SCENES_ONLY]
        if vocabulary != "scenes" and blind:
            raise RecipeError(
                f"recipe {recipe.name!r}: reward {blind[0]!r} judges drawn scenes, and model {model!r} knows "
                f"{vocabulary}; name others under vocabularies.{vocabulary}.rewards"
            )
    _check_names(out, model)
    return out


def evaluation_for(vocabulary: Vocabulary, against: Sequence[Path] = ()) -> Evaluation:
    """The suite of the vocabulary and the prompts of the files. Raises ``InputError`` naming a bad file."""
    evaluation = evaluation_of(vocabulary.name)
    for path in against:
        evaluation = evaluation.with_prompts(read_prompts(path), vocabulary)
    return evaluation


def short_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def judges_of(recipes: Sequence[Recipe]) -> dict[str, str]:
    """Every reward of the recipes with its checkpoint and licence, as its card declares; nothing is loaded."""
    from rewards import REWARDS
    from rewards.base import UNDECLARED

    found = {}
    for recipe in recipes:
        for name in recipe.reward_names:
            card = getattr(resolve("reward", name, REWARDS), "card", UNDECLARED)
            model = recipe.rewards.options.get(name, {}).get("model", card.checkpoint)
            found[name] = ", ".join(filter(None, (str(model), card.licence)))
    return found
