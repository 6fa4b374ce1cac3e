"""Run the rewards over candidates and combine them, one reward for each modality.

A judge that could not judge leaves None, and a sample without its image reward is dropped as
``unscored``: never 0. So does a judge that crashed: its batch is judged again one by one, and what
still crashes is None with the cause as reason. A value that is not finite stops the build, naming the
sample.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from datagen.errors import DatagenError, InputError, RewardError
from datagen.recipe import Recipe
from datagen.sample import Sample, Score

if TYPE_CHECKING:
    from rewards.base import RewardFunction


def check_rewards(rewards: "Mapping[str, RewardFunction]", recipe: Recipe) -> None:
    """Refuse a held-out judge: what evaluates must not weigh."""
    for name in recipe.reward_names:
        if rewards[name].heldout:
            raise InputError(f"recipe {recipe.name!r}: reward {name!r} is held out for evaluation")


def score_candidates(
    samples: Sequence[Sample], rewards: "Mapping[str, RewardFunction]", recipe: Recipe
) -> list[Sample]:
    """Every reward of the recipe on every sample; sets ``scores``, ``reward`` and maybe ``dropped``."""
    columns = {}
    for name in recipe.reward_names:
        scores = _judge(rewards[name], samples)
        if len(scores) != len(samples):
            raise RewardError(f"reward {name!r} returned {len(scores)} scores for {len(samples)} samples")
        for sample, score in zip(samples, scores, strict=True):
            if score.value is not None and not math.isfinite(score.value):
                raise RewardError(f"reward {name!r} gave {score.value} for sample {sample.id}")
        columns[name] = [replace(s, name=name) for s in scores]  # the recipe's name for it
    done = []
    for i, sample in enumerate(samples):
        scored = replace(sample, scores=tuple(columns[name][i] for name in recipe.reward_names))
        reward = combine(scored, recipe.rewards.image)
        unscored = reward is None and not scored.dropped
        done.append(replace(scored, reward=reward, dropped="unscored" if unscored else scored.dropped))
    return done


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


def combine(sample: Sample, weights: Mapping[str, float]) -> float | None:
    """Weighted mean of the named scores; None as soon as one that counts is None."""
    total = 0.0
    for name, weight in weights.items():
        value = sample.score(name)
        if weight and value is None:
            return None
        total += weight * (value or 0.0)
    return total / sum(weights.values())
