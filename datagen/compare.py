"""Two results of the same prompts: paired differences with intervals, corrected for many tests."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from datagen.errors import InputError
from datagen.evals.rows import EvalRow
from datagen.statistics import holm, paired_bootstrap


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


def compare(before: Sequence[EvalRow], after: Sequence[EvalRow], seed: int = 0) -> list[Comparison]:
    """Paired by prompt over the images that both scored. Raises ``InputError`` when none are shared."""
    old, new = _scores(before), _scores(after)
    shared = sorted(old.keys() & new.keys())
    if not shared:
        raise InputError("the two results share no scored image of any prompt; they cannot be paired")
    pairs: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for key in shared:
        category, prompt, _ = key
        pairs.setdefault(category, {}).setdefault(prompt, []).append((old[key], new[key]))
    columns: dict[str, tuple[list[float], list[float]]] = {}
    for category, prompts in pairs.items():
        columns[category] = (
            [sum(b for b, _ in images) / len(images) for images in prompts.values()],
            [sum(a for _, a in images) / len(images) for images in prompts.values()],
        )
    differences = {c: paired_bootstrap(b, a, seed) for c, (b, a) in columns.items()}
    adjusted = dict(zip(differences, holm([d.p for d in differences.values()]), strict=True))
    out = []
    for category, (b, a) in columns.items():
        d, p = differences[category], adjusted[category]
        out.append(
            Comparison(
                category, len(b), _mean(b), _mean(a), d.mean, d.low, d.high, p, _verdict(d.low, d.high, p)
            )
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


def _scores(rows: Sequence[EvalRow]) -> dict[tuple[str, str, int], float]:
    return {
        (r.category, r.prompt_id, r.image): r.score for r in rows if r.score is not None and not r.summary
    }


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _verdict(low: float, high: float, p: float) -> str:
    if p < 0.05 and low > 0:
        return "better"
    return "worse" if p < 0.05 and high < 0 else "no clear change"
