"""Results to ranked weaknesses: where the model is weak, how sure we are, what to build, how much.

A category's target is ``--target``, or else the model's own mean over categories. Ranked by the
probability of lying below it, then by expected shortfall; the budget follows the shortfall with a
floor and a cap. What is left out here: sub-weaknesses and other benchmarks' trees.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from datagen.errors import InputError, ResultsError
from datagen.evals.rows import EvalRow
from datagen.statistics import Estimate, below, clustered, from_total

FLOOR, CAP = 0.05, 0.6  # a weakness's least and greatest share of the budget
SURE = 0.5  # from this probability on a category counts as weak
EXAMPLES = 5


@dataclass(frozen=True)
class Weakness:
    """One category. Scores in [0, 1]; ``gap`` = target - score; ``budget`` a share, 0 if not weak."""

    id: str
    category: str
    n: int
    prompts: int
    score: float
    low: float
    high: float
    target: float
    gap: float
    probability: float
    shortfall: float
    budget: float
    recipe: str | None
    examples: tuple[str, ...] = ()
    note: str = ""


def find_weaknesses(
    rows: Sequence[EvalRow], target: float | None = None, recipes: Mapping[str, str] | None = None
) -> list[Weakness]:
    """Every category, weakest first. ``recipes``: category -> the recipe that targets it.

    Raises ``InputError`` for a target outside (0, 1], ``ResultsError`` when nothing was scored.
    """
    if target is not None and not 0 < target <= 1:
        raise InputError(f"--target {target}: must lie in (0, 1]")
    estimates = {c: _estimate(mine) for c, mine in _by_category(rows).items()}
    if not estimates:
        raise ResultsError("no row was scored")
    goal = target if target is not None else sum(e.mean for e in estimates.values()) / len(estimates)
    risk = {c: below(e, goal) for c, e in estimates.items()}
    shares = _budget({c: s for c, (p, s) in risk.items() if p >= SURE and s > 0})
    found = [
        Weakness(
            id=category,
            category=category,
            n=e.n,
            prompts=e.clusters,
            score=e.mean,
            low=e.low,
            high=e.high,
            target=goal,
            gap=goal - e.mean,
            probability=risk[category][0],
            shortfall=risk[category][1],
            budget=shares.get(category, 0.0),
            recipe=(recipes or {}).get(category),
            examples=_examples(rows, category),
            note="" if e.clusters else "totals only: interval widened by the usual design effect of 2.5",
        )
        for category, e in estimates.items()
    ]
    return sorted(found, key=lambda w: (-round(w.probability, 3), -w.shortfall, w.category))


def _by_category(rows: Sequence[EvalRow]) -> dict[str, list[EvalRow]]:
    out: dict[str, list[EvalRow]] = {}
    for row in rows:
        if row.score is not None:
            out.setdefault(row.category, []).append(row)
    return out


def _estimate(rows: Sequence[EvalRow]) -> Estimate:
    totals = [r for r in rows if r.summary]
    if totals:
        n = sum(r.summary for r in totals)
        return from_total(sum((r.score or 0.0) * r.summary for r in totals) / n, n)
    groups: dict[str, list[float]] = {}
    for row in rows:
        groups.setdefault(row.prompt_id, []).append(row.score or 0.0)
    return clustered(list(groups.values()))


def _budget(shortfalls: Mapping[str, float]) -> dict[str, float]:
    """Shares that sum to 1, proportional to shortfall within floor and cap (where they can hold)."""
    if not shortfalls:
        return {}
    floor, cap = min(FLOOR, 1 / len(shortfalls)), max(CAP, 1 / len(shortfalls))
    fixed: dict[str, float] = {}
    while True:
        free = {c: s for c, s in shortfalls.items() if c not in fixed}
        if not free:
            return fixed
        left = 1 - sum(fixed.values())
        total = sum(free.values())
        shares = {c: left * s / total for c, s in free.items()}
        bound = {c: max(floor, min(cap, s)) for c, s in shares.items()}
        over = sum(bound[c] - shares[c] for c in shares)
        moved = {
            c: b
            for c, b in bound.items()
            if b != shares[c] and (b > shares[c] if over > 0 else b < shares[c])
        }
        if not moved:
            moved = {c: b for c, b in bound.items() if b != shares[c]}
        if not moved:
            return {**fixed, **shares}
        fixed |= moved


def _examples(rows: Sequence[EvalRow], category: str) -> tuple[str, ...]:
    """Failing prompts with the judge's reason, one a prompt."""
    out: dict[str, str] = {}
    for row in rows:
        if row.category == category and row.score is not None and row.score < 1 and row.prompt:
            reason = row.reason.splitlines()[0] if row.reason else "failed"
            out.setdefault(row.prompt, f"{row.prompt} ({reason})")
    return tuple(list(out.values())[:EXAMPLES])


def write_weaknesses(path: Path, weaknesses: Sequence[Weakness]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([asdict(w) for w in weaknesses], indent=2) + "\n")


def read_weaknesses(path: Path) -> list[Weakness]:
    """Raises ``InputError`` naming the file."""
    try:
        rows = json.loads(path.read_text())
        return [Weakness(**{**row, "examples": tuple(row["examples"])}) for row in rows]
    except OSError as error:
        raise InputError(f"{path}: missing; run datagen weaknesses first") from error
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path}: not a weaknesses file: {error}") from error
