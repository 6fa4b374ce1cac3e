"""The table of rewards, and ``load_reward``. To add one: a file here and a line in the table.

A user's own is ``module:name`` in a recipe: a class (built with the recipe's options), an object with
``score``, or a plain function ``score(samples) -> list[Score]``.
"""

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from datagen.errors import InputError
from datagen.registry import resolve
from datagen.sample import Sample, Score
from rewards.base import UNDECLARED, Card, RewardFunction

REWARDS: dict[str, str] = {
    # rules on pictures and traces
    "scenes": "rewards.scenes:SceneVerifier",  # classical vision on drawn scenes
    "dense": "rewards.dense:DenseVerifier",  # many objects, by atoms with dependencies
    "lettering": "rewards.lettering:Lettering",  # words in drawn scenes, with partial credit
    "trace": "rewards.trace:TraceVerifier",  # does the layout trace satisfy the target
    "follows": "rewards.trace:FollowsTrace",  # does the picture show what the trace says
    "hygiene": "rewards.hygiene:Hygiene",  # blank, saturated, noise, copies: a gate
    # photographs: verifiers
    "objects": "rewards.objects:Objects",  # GenEval's rules on an open detector
    "text": "rewards.text:Text",  # OCR of lettering
    # photographs: questions
    "vqa": "rewards.vqa:Vqa",  # the target's atoms, asked of a vision-language model
    "self_vqa": "rewards.vqa:SelfVqa",  # asked of the model that drew the picture
    "trace_vqa": "rewards.trace_vqa:TraceVqa",  # does a free-form plan satisfy the target
    "follows_vqa": "rewards.trace_vqa:FollowsVqa",  # does the picture follow a free-form plan
    # photographs: alignment, preference, gates
    "clip": "rewards.clip:Clip",
    "siglip": "rewards.clip:Siglip",
    "pickscore": "rewards.pickscore:PickScore",
    "hps": "rewards.hps:Hps",
    "image_reward": "rewards.image_reward:ImageReward",
    "aesthetic": "rewards.aesthetic:Aesthetic",
    "nsfw": "rewards.nsfw:Nsfw",
    # held out: evaluate, never weigh
    "judge": "rewards.judge:SceneJudge",  # objects in drawn scenes, a small network
    "dense_judge": "rewards.dense:DenseJudge",  # atoms with dependencies, by the same network
    "letters": "rewards.letters:LetterJudge",  # words in drawn scenes, a small network
}


class FunctionReward:
    """A user's function as a reward."""

    heldout = False
    card: Card = UNDECLARED

    def __init__(self, name: str, function: Callable[[Sequence[Sample]], list[Score]]) -> None:
        self.name, self.function = name, function

    def score(self, samples: Sequence[Sample]) -> list[Score]:
        return self.function(samples)


def load_reward(name: str, options: Mapping[str, Any] | None = None) -> RewardFunction:
    """The reward called ``name``: a key of ``REWARDS`` or ``module:name``, built with ``options``.

    Raises ``UnknownName``, or ``InputError`` for options it does not take or an object that is no reward.
    """
    found = resolve("reward", name, REWARDS)
    reward: Any
    if isinstance(found, type):
        try:
            inspect.signature(found).bind(**(options or {}))
        except TypeError as error:
            valid = ", ".join(inspect.signature(found).parameters) or "none"
            raise InputError(f"reward {name!r}: options: {error}; valid: {valid}") from error
        reward = found(**(options or {}))
    elif options:
        raise InputError(f"reward {name!r} is no class, so it takes no options")
    else:
        reward = FunctionReward(name, found) if inspect.isroutine(found) else found
    if not callable(getattr(reward, "score", None)):
        raise InputError(f"reward {name!r} has no score(samples)")
    for field, default in (("name", name), ("heldout", False), ("card", UNDECLARED)):
        if not hasattr(reward, field):
            setattr(reward, field, default)
    return reward


def parse_options(given: Sequence[str], names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """``REWARD.FIELD=VALUE`` strings, values as YAML, to options by reward.

    Raises ``InputError`` for one of another form or for a reward that is not in ``names``.
    """
    import yaml

    out: dict[str, dict[str, Any]] = {}
    for text in given:
        left, equals, value = text.partition("=")
        reward, dot, field = left.rpartition(".")
        if not equals or not dot or not field:
            raise InputError(f"--option {text!r}: write REWARD.FIELD=VALUE, as in vqa.aggregate=mean")
        if reward not in names:
            raise InputError(f"--option {text!r}: reward {reward!r} is not among {', '.join(names)}")
        try:
            out.setdefault(reward, {})[field] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise InputError(f"--option {text!r}: {value!r} is not YAML") from error
    return out


def load_rewards(
    names: Sequence[str],
    options: Mapping[str, Mapping[str, Any]],
    loaded: dict[str, RewardFunction],
    model: Any = None,
) -> dict[str, RewardFunction]:
    """Rewards by name, those in ``loaded`` used again (it is added to); judges of the model get ``model``.

    The same name with other options is another reward, loaded beside the first.
    """
    out = {}
    for name in names:
        key = f"{name} {json.dumps(options.get(name, {}), sort_keys=True, default=str)}"
        if key not in loaded:
            loaded[key] = load_reward(name, options.get(name))
        out[name] = loaded[key]
        if model is not None and (bind := getattr(out[name], "bind", None)) is not None:
            bind(model)
    return out
