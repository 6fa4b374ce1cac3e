"""The table of rewards, and ``load_reward``. To add one: a file here and a line in the table."""

from datagen.registry import resolve
from rewards.base import RewardFunction

REWARDS: dict[str, str] = {
    "scenes": "rewards.scenes:SceneVerifier",  # classical vision on drawn scenes
    "trace": "rewards.trace:TraceVerifier",  # does the layout trace satisfy the target
    "follows": "rewards.trace:FollowsTrace",  # does the picture show what the trace says
    "judge": "rewards.judge:SceneJudge",  # a small network, held out for evaluation
}


def load_reward(name: str) -> RewardFunction:
    """The reward called ``name``: a key of ``REWARDS`` or ``module:Class``."""
    return resolve("reward", name, REWARDS)()
