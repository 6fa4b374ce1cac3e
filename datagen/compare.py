"""Two results of the same prompts: paired differences with intervals, corrected for many tests."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from datagen.errors import InputError
from datagen.evals.rows import EvalRow
from datagen.statistics import holm, paired_bootstrap

Key = tuple[str, str, str, int]


@dataclass(frozen=True)
class Comparison:
    """One category, or ``overall`` (the unweighted mean of categories, as GenEval does)."""

    category: str
    prompts: int
    before: float
    after: float
    difference: float
    low: float
    high: float
    p: float  # Holm-adjusted over the categories; overall's is its own
    verdict: str  # better, worse, no clear change
    benchmark: str = ""  # where the results hold several


def compare(before: Sequence[EvalRow], after: Sequence[EvalRow], seed: int = 0) -> list[Comparison]:
    """Paired by prompt over the images that both scored. ``unpaired`` says what that leaves out.

    Raises ``InputError`` when none are shared, or where one number stands for two different prompts.
    """
    old, new = _paired(before, after)
    shared = sorted(old.keys() & new.keys())
    if not shared:
        raise InputError("the two results share no scored image of any prompt; they cannot be paired")
    pairs: dict[tuple[str, str], dict[str, list[tuple[float, float]]]] = {}
    for key in shared:
        benchmark, category, prompt, _ = key
        one, other = old[key], new[key]
        if not _same(one.prompt, other.prompt):
            raise InputError(
                f"prompt {prompt} of {category} is {one.prompt!r:.60} in the first results and "
                f"{other.prompt!r:.60} in the second: they are not of the same prompts, and cannot be paired"
            )
        pairs.setdefault((benchmark, category), {}).setdefault(prompt, []).append(
            (one.score or 0.0, other.score or 0.0)
        )
    columns: dict[tuple[str, str], tuple[list[float], list[float]]] = {}
    for place, prompts in pairs.items():
        columns[place] = (
            [sum(b for b, _ in images) / len(images) for images in prompts.values()],
            [sum(a for _, a in images) / len(images) for images in prompts.values()],
        )
    differences = {c: paired_bootstrap(b, a, seed) for c, (b, a) in columns.items()}
    adjusted = dict(zip(differences, holm([d.p for d in differences.values()]), strict=True))
    out = []
    for place, (b, a) in columns.items():
        d, p = differences[place], adjusted[place]
        verdict = _verdict(d.low, d.high, p)
        out.append(
            Comparison(place[1], len(b), _mean(b), _mean(a), d.mean, d.low, d.high, p, verdict, place[0])
        )
    # Overall: every category counts the same, so prompts are weighted by their category's size.
    scale = {c: len(shared_prompts) for c, shared_prompts in pairs.items()}
    total = sum(scale.values())
    weight = [total / (len(scale) * scale[c]) for c, (b, _) in columns.items() for _ in b]
    flat_before = [w * x for w, x in zip(weight, [x for b, _ in columns.values() for x in b], strict=True)]
    flat_after = [w * x for w, x in zip(weight, [x for _, a in columns.values() for x in a], strict=True)]
    d = paired_bootstrap(flat_before, flat_after, seed)
    verdict = _verdict(d.low, d.high, d.p)
    out.append(
        Comparison(
            "overall", total, _mean(flat_before), _mean(flat_after), d.mean, d.low, d.high, d.p, verdict
        )
    )
    return out


def transition_rate(rows: Sequence[EvalRow]) -> dict[str, float]:
    """Shares of ``model``, ``forced`` and ``none`` among rows that say how the image was opened."""
    counts = Counter(str(r.extra["transition"]) for r in rows if r.extra.get("transition"))
    total = sum(counts.values())
    return {k: counts[k] / total for k in ("model", "forced", "none")} if total else {}


def unpaired(before: Sequence[EvalRow], after: Sequence[EvalRow]) -> tuple[int, int]:
    """How many scored images only the first, and only the second, results have."""
    old, new = _paired(before, after)
    return len(old.keys() - new.keys()), len(new.keys() - old.keys())


def _paired(before: Sequence[EvalRow], after: Sequence[EvalRow]) -> tuple[dict[Key, EvalRow], ...]:
    """The scored rows by what pairs them: the benchmark too, unless each has but one, named by its file."""
    several = any(len({r.benchmark for r in rows}) > 1 for rows in (before, after))
    return tuple(
        {
            (r.benchmark if several else "", r.category, r.prompt_id, r.image): r
            for r in rows
            if r.score is not None and not r.summary
        }
        for rows in (before, after)
    )


def _same(one: str, other: str) -> bool:
    """Whether two texts may be one prompt; formats that have no texts leave them empty."""
    words = [re.findall(r"\w+", text.casefold()) for text in (one, other)]
    return not all(words) or words[0] == words[1]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _verdict(low: float, high: float, p: float) -> str:
    if p < 0.05 and low > 0:
        return "better"
    return "worse" if p < 0.05 and high < 0 else "no clear change"
