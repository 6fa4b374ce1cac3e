"""Does the 95% interval hold, do splits happen by chance: ``python -m benchmarks.coverage``.

Simulates whole benchmarks of GenEval's shape (six categories of 80 to 100 prompts, four images each)
whose images of one prompt are correlated, with every category's truth known, and prints

1. how often the interval holds the truth, beside the naive binomial's, for several correlations,
2. the same by number of prompts and by truth, where small samples and edges show,
3. what shrinkage does to sub-skills of few prompts: error and coverage of the posterior ranking uses,
4. how often a category is split though nothing differs, and though one part is truly weak,
5. whether P(weak), by which weaknesses are ranked, is as often true as it says,
6. how many verdicts "weak" are wrong, and what of an interrupted or summary-only file still holds,
7. how often the interval holds where scores are graded and the images of a prompt score nearly the same.
"""

import argparse

import numpy as np
from scipy import stats

from datagen.evals.rows import EvalRow
from datagen.shrinkage import shrink
from datagen.statistics import estimate, from_total
from datagen.subskills import grow
from datagen.tally import tally
from datagen.weaknesses import find_weaknesses

SIZES = {
    "single_object": 80,
    "two_object": 99,
    "counting": 80,
    "colors": 94,
    "position": 100,
    "color_attr": 100,
}
IMAGES = 4


def draw(
    rng: np.random.Generator, truth: float, prompts: int, correlation: float, images: int = IMAGES
) -> np.ndarray:
    """Right images of each prompt: beta-binomial, so that two images of a prompt correlate as asked."""
    if correlation <= 0:
        return rng.binomial(images, truth, prompts)
    if correlation >= 1:
        return images * rng.binomial(1, truth, prompts)
    strength = 1 / correlation - 1
    return rng.binomial(images, rng.beta(truth * strength, (1 - truth) * strength, prompts))


def held(right: np.ndarray, truth: float, images: int = IMAGES) -> tuple[bool, bool]:
    """Whether our interval, and the naive binomial's, hold the truth."""
    found = estimate(right.astype(float), np.full(len(right), images), float(right.sum()))
    n = images * len(right)
    half = 1.96 * (found.mean * (1 - found.mean) / n) ** 0.5
    return found.low <= truth <= found.high, abs(found.mean - truth) <= half


def graded(rng: np.random.Generator, runs: int, prompts: int, a: float, b: float) -> float:
    """How often the interval holds the mean of Beta(a, b) scores, a prompt's four images within 0.01 of it."""
    hits = []
    for _ in range(runs):
        scores = np.clip(rng.beta(a, b, (prompts, 1)) + rng.normal(0, 0.01, (prompts, IMAGES)), 0, 1)
        found = estimate(scores.sum(1), np.full(prompts, IMAGES), float((scores**2).sum()))
        hits.append(found.low <= a / (a + b) <= found.high)
    return float(np.mean(hits))


def whole_benchmarks(rng: np.random.Generator, runs: int, correlation: float) -> tuple[float, float]:
    hits = []
    for _ in range(runs):
        for size in SIZES.values():
            truth = float(rng.uniform(0.3, 0.99))
            hits.append(held(draw(rng, truth, size, correlation), truth))
    ours, naive = np.mean(hits, axis=0)
    return float(ours), float(naive)


def rows_of(right: np.ndarray, category: str, facet: list[str] | None = None) -> list[EvalRow]:
    return [
        EvalRow(
            f"{p:05d}",
            "",
            category,
            float(i < k),
            i,
            facets=(("part", facet[p]),) if facet else (),
            benchmark="b",
        )
        for p, k in enumerate(right)
        for i in range(IMAGES)
    ]


def sub_skills(rng: np.random.Generator, runs: int, prompts: int) -> tuple[float, float, float, float]:
    """Root mean squared error raw and shrunk; coverage of the interval and of the shrunk posterior."""
    errors, hits = [], []
    for _ in range(runs):
        truths = rng.beta(14, 6, 8)
        drawn = [draw(rng, t, prompts, 0.5) for t in truths]
        raw = [estimate(d.astype(float), np.full(prompts, IMAGES), float(d.sum())) for d in drawn]
        for truth, before, after in zip(
            truths, raw, shrink(raw, sum(e.mean for e in raw) / len(raw)), strict=True
        ):
            errors.append((before.mean - truth, after.a / (after.a + after.b) - truth))
            low, high = stats.beta.ppf([0.025, 0.975], after.a, after.b)
            hits.append((before.low <= truth <= before.high, low <= truth <= high))
    squared = np.sqrt(np.mean(np.square(errors), axis=0))
    return float(squared[0]), float(squared[1]), *map(float, np.mean(hits, axis=0))  # type: ignore[return-value]


def splits(rng: np.random.Generator, runs: int, parts: int, weak: float | None) -> float:
    """Share of benchmarks in which something is split: six categories, four parts each."""
    found = 0
    for _ in range(runs):
        rows: list[EvalRow] = []
        for name, size in SIZES.items():
            part = rng.integers(0, parts, size)
            truth = np.full(parts, 0.75)
            if weak is not None and name == "counting":
                truth[0] = weak
            right = np.array([draw(rng, float(truth[k]), 1, 0.5)[0] for k in part])
            rows += rows_of(right, name, [str(k) for k in part])
        found += any(node.split for node in grow(tally(rows)))
    return found / runs


def question_splits(rng: np.random.Generator, runs: int) -> float:
    """The same where the parts are questions about one image (DPG, DSG): they share its luck."""
    found = 0
    for _ in range(runs):
        rows = []
        for name in ("entity", "attribute", "relation"):
            luck = rng.beta(3, 1, 120)
            for p in range(120):
                for q in range(int(rng.integers(2, 7))):
                    part = (("L2", str(rng.integers(0, 4))),)
                    rows.append(
                        EvalRow(
                            f"{p}", "", name, float(rng.random() < luck[p]), q, facets=part, benchmark="b"
                        )
                    )
        found += any(node.split for node in grow(tally(rows)))
    return found / runs


def verdicts(rng: np.random.Generator, runs: int) -> tuple[float, float]:
    """Share of "weak" verdicts that are wrong, and of truly weak categories (15 points) that get one."""
    said = wrong = there = weak = 0
    for _ in range(runs):
        truths = {name: float(rng.choice([0.65, 0.80, 0.83, 0.95])) for name in SIZES}
        rows = [r for name, size in SIZES.items() for r in rows_of(draw(rng, truths[name], size, 0.5), name)]
        for w in find_weaknesses(rows, target=0.8):
            said += w.verdict == "weak"
            wrong += w.verdict == "weak" and truths[w.category] >= 0.8
            there += w.verdict == "weak" and truths[w.category] == 0.65
        weak += sum(t == 0.65 for t in truths.values())
    return wrong / max(said, 1), there / weak


def calibration(rng: np.random.Generator, runs: int) -> list[tuple[float, float, float, int]]:
    """For bands of P(weak): its mean, the share truly below the target, and how many there were."""
    said = []
    for _ in range(runs):
        truths = {name: float(rng.beta(8, 2)) for name in SIZES}
        rows = [r for name, size in SIZES.items() for r in rows_of(draw(rng, truths[name], size, 0.5), name)]
        said += [(w.probability, truths[w.category] < 0.8) for w in find_weaknesses(rows, target=0.8)]
    values = np.array(said, dtype=float)
    bands = [(0.0, 0.1), (0.1, 0.5), (0.5, 0.9), (0.9, 1.01)]
    picked = [values[(values[:, 0] >= low) & (values[:, 0] < high)] for low, high in bands]
    return [
        (low, float(v[:, 0].mean()), float(v[:, 1].mean()), len(v))
        for (low, _), v in zip(bands, picked, strict=True)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)

    print(
        f"{args.runs} simulated benchmarks of six categories, truth 0.3 to 0.99, 95% interval holds the truth:"
    )
    print("  correlation   ours   naive binomial")
    for correlation in (0.0, 0.25, 0.5, 0.75, 1.0):
        ours, naive = whole_benchmarks(rng, args.runs, correlation)
        print(f"  {correlation:11.2f}  {100 * ours:5.1f}  {100 * naive:15.1f}")

    truths = (0.05, 0.2, 0.5, 0.8, 0.95, 0.99)
    print(f"\nby prompts and truth ({args.runs} each, correlation 0.5), ours / naive:")
    print("  prompts  " + "".join(f"{t:>14}" for t in truths))
    for prompts in (5, 10, 26, 80, 400):
        cells = [
            np.mean([held(draw(rng, t, prompts, 0.5), t) for _ in range(args.runs)], axis=0) for t in truths
        ]
        print(f"  {prompts:7d}  " + "".join(f"{100 * a:7.1f} /{100 * b:5.1f}" for a, b in cells))

    totals = [
        from_total(float(draw(rng, 0.7, 80, 0.5).mean()) / IMAGES, 80 * IMAGES) for _ in range(args.runs)
    ]
    share = np.mean([e.low <= 0.7 <= e.high for e in totals])
    print(f"\nsummary without rows (80 prompts, truth 0.7), widened by 2.5: {100 * share:.1f}")

    print(
        "\neight sub-skills around their parent: error raw -> shrunk, coverage of interval and of shrunk posterior"
    )
    for prompts in (5, 10, 26):
        raw, shrunk, interval, posterior = sub_skills(rng, args.runs // 4, prompts)
        print(
            f"  {prompts:2d} prompts  {raw:.3f} -> {shrunk:.3f}   {100 * interval:.1f}  {100 * posterior:.1f}"
        )

    few = max(args.runs // 10, 20)
    print(f"\nsplit by chance in any of six categories (at most 5% wanted), {few} benchmarks:")
    for parts in (2, 4, 12):
        print(f"  {parts:2d} parts that do not differ: {100 * splits(rng, few, parts, None):.1f}%")
    print(f"   4 kinds of question about each image: {100 * question_splits(rng, few):.1f}%")
    print(f"  found when one part of four falls from 0.75 to 0.35: {100 * splits(rng, few, 4, 0.35):.1f}%")

    print("\nP(weak), which ranks, against the share truly below the target:")
    for start, expected, below, n in calibration(rng, few):
        print(f"  from {start:.1f}: said {100 * expected:5.1f}%, true {100 * below:5.1f}%  ({n})")

    wrong, found = verdicts(rng, few)
    print(f"\nverdict weak against 0.8: {100 * wrong:.1f}% wrong (at most 5% wanted), "
          f"{100 * found:.1f}% of the categories at 0.65 found")  # fmt: skip

    shapes = ((7.0, 3.0), (4.5, 0.5))
    print(f"\ngraded scores, {args.runs} each, Beta(7, 3) and the skewed Beta(4.5, 0.5):")
    for prompts in (5, 8, 20, 80):
        cells = [graded(rng, args.runs, prompts, *shape) for shape in shapes]
        print(f"  {prompts:2d} prompts  " + "".join(f"{100 * c:7.1f}" for c in cells))


if __name__ == "__main__":
    main()
