"""Run the rewards over candidates: every score, and the image reward that ``combine`` makes of them.

A judge that could not judge leaves None, and a sample without its image reward is dropped as
``unscored``: never 0. So does a judge that crashed: its batch is judged again one by one, and what
still crashes is None with the cause as reason. A value that is not finite stops the build, naming the
sample.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from datagen.combine import combined
from datagen.errors import DatagenError, InputError, RewardError
from datagen.recipe import Recipe
from datagen.sample import Sample, Score

if TYPE_CHECKING:
    from rewards.base import RewardFunction


def check_rewards(rewards: "Mapping[str, RewardFunction]", recipe: Recipe) -> None:
    """Refuse what would mislead: a held-out judge that weighs, and a mean of unlike scales."""
    for name in recipe.reward_names:
        if rewards[name].heldout:
            raise InputError(f"recipe {recipe.name!r}: reward {name!r} is held out for evaluation")
    for modality, weights in (("image", recipe.rewards.image), ("text", recipe.rewards.text)):
        if recipe.rewards.scale.get(modality, "raw") != "raw":  # type: ignore[call-overload]
            continue
        for name, weight in weights.items():
            card = getattr(rewards[name], "card", None)
            if weight and card is not None and not card.unit:
                raise InputError(
                    f"recipe {recipe.name!r}: reward {name!r} is not on a scale of 0 to 1 ({card.scale}); "
                    f"set rewards.scale.{modality} to rank or zscore"
                )


def score_candidates(
    samples: Sequence[Sample], rewards: "Mapping[str, RewardFunction]", recipe: Recipe
) -> list[Sample]:
    """Every reward of the recipe on every sample; sets ``scores``, ``reward`` and maybe ``dropped``.

    Samples of one group must come in one call: some combinations compare within it.
    """
    columns = {}
    for name in recipe.reward_names:
        columns[name] = judged(name, rewards[name], samples)
    scored = [
        replace(sample, scores=tuple(columns[name][i] for name in recipe.reward_names))
        for i, sample in enumerate(samples)
    ]
    groups: dict[str, list[int]] = {}
    for i, sample in enumerate(scored):
        groups.setdefault(sample.group_id, []).append(i)
    for members in groups.values():
        for i, reward in zip(
            members, combined([scored[i] for i in members], recipe.rewards, "image"), strict=True
        ):
            unscored = reward is None and not scored[i].dropped
            dropped = "unscored" if unscored else scored[i].dropped
            scored[i] = replace(scored[i], reward=reward, dropped=dropped)
    return scored


def judged(name: str, reward: "RewardFunction", samples: Sequence[Sample]) -> list[Score]:
    """One reward on samples, crashes and all; scores carry ``name``, the caller's name for it.

    Raises ``RewardError`` naming the sample whose value is not finite.
    """
    scores = _judge(reward, samples)
    if len(scores) != len(samples):
        raise RewardError(f"reward {name!r} returned {len(scores)} scores for {len(samples)} samples")
    for sample, score in zip(samples, scores, strict=True):
        if score.value is not None and not math.isfinite(score.value):
            raise RewardError(f"reward {name!r} gave {score.value} for sample {sample.id}")
    return [replace(score, name=name) for score in scores]


def _judge(reward: "RewardFunction", samples: Sequence[Sample]) -> list[Score]:
    try:
        return reward.score(samples)
    except DatagenError:
        raise
    except Exception as error:  # any judge may fail in any way on any picture; the cause is kept
        if len(samples) == 1:
            why = " ".join(str(error).split())[:200]
            return [Score(reward.name, None, f"crashed: {type(error).__name__}: {why}")]
        return [score for sample in samples for score in _judge(reward, [sample])]
