"""What a dataset holds, counted sample by sample: by recipe, by drop reason, rewards, weights, sources.

It keeps counts and the ids of prompts, never a sample, so a card can be written of a dataset that was
only streamed past.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from datagen.combine import combined
from datagen.recipe import Recipe
from datagen.sample import Sample

BINS = 10  # of the rewards' histogram, from 0 to 1


@dataclass
class Line:
    """The counts of one recipe; the ``_sums`` are (sum of weights, sum of their squares)."""

    weakness: str = ""
    groups: set[str] = field(default_factory=set)
    candidates: int = 0
    kept: int = 0
    passed: int = 0
    scored: int = 0
    reward: float = 0.0
    bins: Counter[int] = field(default_factory=Counter)
    text_bins: Counter[int] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    transitions: Counter[str] = field(default_factory=Counter)
    text_sums: tuple[float, float] = (0.0, 0.0)
    image_sums: tuple[float, float] = (0.0, 0.0)


class Account:
    """Add samples in any portions; ``table`` and the rest read what was added so far.

    A candidate passes that reached its recipe's floor, or, where rewards are compared within a group, its
    gates. Without the recipe only a reward of 1 passes, and text rewards, which it makes of scores, are unknown.
    """

    def __init__(self, recipes: Sequence[Recipe] = ()) -> None:
        self.recipes = {r.name: r for r in recipes}
        self.lines: dict[str, Line] = {}
        self.sources: Counter[str] = Counter()
        self.models: set[str] = set()
        self.llms: set[str] = set()
        self.unscored = ""  # the first score that is missing, and why

    @classmethod
    def of(cls, samples: Iterable[Sample], recipes: Sequence[Recipe] = ()) -> "Account":
        account = cls(recipes)
        account.add(samples)
        return account

    @property
    def candidates(self) -> int:
        return sum(line.candidates for line in self.lines.values())

    @property
    def kept(self) -> int:
        return sum(line.kept for line in self.lines.values())

    @property
    def dropped(self) -> Counter[str]:
        return sum((line.dropped for line in self.lines.values()), Counter())

    def add(self, samples: Iterable[Sample], whole: bool = True) -> None:
        """``whole`` False: not all of a prompt's candidates are here, so text rewards are not counted."""
        samples = list(samples)
        for sample in samples:
            line = self.lines.setdefault(sample.recipe, Line(sample.weakness))
            line.groups.add(sample.group_id)
            line.candidates += 1
            line.transitions[sample.transition] += 1
            if sample.dropped:
                line.dropped[sample.dropped.split(" of ")[0]] += 1
            else:
                line.kept += 1
            if sample.reward is not None:
                line.scored += 1
                line.reward += sample.reward
                line.bins[_bin(sample.reward)] += 1
                line.passed += self._passes(sample)
            line.text_sums = _plus(line.text_sums, sample.text_weight)
            line.image_sums = _plus(line.image_sums, sample.image_weight)
            self.sources[sample.trace_source] += 1
            self.models |= {sample.model} - {""}
            self.llms |= {sample.llm} - {""}
            if not self.unscored:
                missing = next((c for c in sample.scores if c.value is None), None)
                self.unscored = f"{missing.name}: {missing.reason}" if missing else ""
        if whole:
            self._add_text(samples)

    def add_text_rewards(self, counts: Mapping[str, Mapping[str, Any]]) -> None:
        """Those that another account's ``table`` has."""
        for name, row in counts.items():
            if name in self.lines:
                self.lines[name].text_bins.update(dict(enumerate(row.get("text_rewards", ()))))

    def table(self) -> dict[str, dict[str, Any]]:
        """By recipe: candidates, kept, dropped by reason, pass rate, mean reward, ESS, transitions.

        ``text_rewards`` are counts by bin, none where they are unknown.
        """
        return {
            name: {
                "weakness": line.weakness,
                "prompts": len(line.groups),
                "candidates": line.candidates,
                "kept": line.kept,
                "dropped": dict(line.dropped),
                "pass_rate": line.passed / line.scored if line.scored else None,
                "reward_mean": line.reward / line.scored if line.scored else None,
                "text_ess": _ess(line.text_sums),
                "image_ess": _ess(line.image_sums),
                "transitions": dict(line.transitions),
                "text_rewards": [line.text_bins[b] for b in range(BINS)] if line.text_bins else [],
            }
            for name, line in sorted(self.lines.items())
        }

    def _add_text(self, samples: Sequence[Sample]) -> None:
        groups: dict[tuple[str, str], list[Sample]] = {}
        for sample in samples:
            groups.setdefault((sample.recipe, sample.group_id), []).append(sample)
        for (name, _), group in groups.items():
            if recipe := self.recipes.get(name):
                rewards = combined(group, recipe.rewards, "text")
                self.lines[name].text_bins.update(_bin(r) for r in rewards if r is not None)

    def _passes(self, sample: Sample) -> bool:
        recipe, reward = self.recipes.get(sample.recipe), sample.reward or 0.0
        if recipe is None:
            return reward >= 1.0
        if recipe.rewards.scale.get("image", "raw") != "raw":
            return reward > 0
        return reward >= recipe.weights.floor


def _bin(reward: float) -> int:
    return min(max(int(reward * BINS), 0), BINS - 1)


def _plus(sums: tuple[float, float], weight: float) -> tuple[float, float]:
    return sums[0] + weight, sums[1] + weight * weight


def _ess(sums: tuple[float, float]) -> float:
    return sums[0] ** 2 / sums[1] if sums[1] else 0.0
