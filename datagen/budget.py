"""How much of the data each weakness gets: in proportion to shortfall x weight x yield, floor and cap kept.

Yield is the share of candidates that passed their reward in the build before. A recipe that never
passes would burn its budget: it gets none, and the advice says what to do instead. Where a model was
trained on that build and evaluated again, what a prompt of each recipe moved (its response) says more
than what passed, and takes the yield's place: budget follows learning progress, as in teacher-student
curricula (Matiisen et al., arXiv 1707.00183).
"""

from collections.abc import Mapping, Sequence
from math import exp, pi, sqrt
from typing import NamedTuple

from scipy import special

from datagen.compare import Comparison

FLOOR, CAP = 0.05, 0.6  # a weakness's least and greatest share
ENOUGH = 20  # candidates before "nothing passed" is believed


class Yield(NamedTuple):
    """Of one recipe: the share of ``candidates`` that passed."""

    rate: float
    candidates: int

    @property
    def hopeless(self) -> bool:
        return self.rate == 0 and self.candidates >= ENOUGH

    @property
    def smoothed(self) -> float:
        """The rate with half a success added: few candidates without one are not none."""
        return (self.rate * self.candidates + 0.5) / (self.candidates + 1)


def responses(
    moved: Sequence[Comparison], recipes: Mapping[str, str], spent: Mapping[str, int]
) -> dict[str, float]:
    """Recipe -> the score that one of its prompts gained, from a turn that spent ``spent`` prompts a recipe.

    ``recipes``: category -> recipe. A gain counts with its expected positive part, so a category that
    was measured on few prompts is neither ruled out by a bad draw nor crowned by a good one.
    """
    gains: dict[str, list[float]] = {}
    for c in moved:
        recipe = recipes.get(c.category, "")
        if spent.get(recipe):
            gains.setdefault(recipe, []).append(_positive(c.difference, (c.high - c.low) / (2 * 1.96)))
    return {name: sum(g) / len(g) / spent[name] for name, g in gains.items()}


def _positive(mean: float, deviation: float) -> float:
    """The mean of max(x, 0) for a normal x."""
    if deviation <= 0:
        return max(mean, 0.0)
    z = mean / deviation
    return mean * float(special.ndtr(z)) + deviation * exp(-z * z / 2) / sqrt(2 * pi)


def advice(found: Yield) -> str:
    """What to do about a yield of 0%."""
    return (
        f"yield 0% of {found.candidates} candidates: no budget, a build would burn it. Try an easier curriculum "
        "(fewer objects or atoms in the recipe's targets), more candidates (--candidates), or a trace by the LLM "
        "(trace: llm)"
    )


def shares(wants: Mapping[str, float], floor: float = FLOOR, cap: float = CAP) -> dict[str, float]:
    """Shares that sum to 1, proportional to ``wants`` within floor and cap, where they can hold.

    With so many that floors alone would use it up, the floor is half an equal share.
    """
    if not wants:
        return {}
    floor, cap = min(floor, 0.5 / len(wants)), max(cap, 1 / len(wants))
    fixed: dict[str, float] = {}
    while True:
        free = {c: s for c, s in wants.items() if c not in fixed}
        if not free:
            return fixed
        left, total = 1 - sum(fixed.values()), sum(free.values())
        wanted = {c: left * s / total for c, s in free.items()}
        bound = {c: max(floor, min(cap, s)) for c, s in wanted.items()}
        moved = {c for c in bound if bound[c] != wanted[c]}
        if not moved:
            return {**fixed, **wanted}
        over = sum(bound[c] - wanted[c] for c in moved)
        # The side that moves more is settled first; settling both at once could overshoot.
        settled = {c: bound[c] for c in moved if (bound[c] > wanted[c]) == (over > 0)} or {
            c: bound[c] for c in moved
        }
        fixed |= settled
