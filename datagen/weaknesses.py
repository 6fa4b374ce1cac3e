"""Results to ranked weaknesses: where the model is weak, how sure we are, what to build, how much.

A category's target is ``--target``, or else the model's own mean over its benchmark's categories, which
says where the model is weaker than elsewhere; a mean near 0 says that it is weak everywhere.
Categories are split into sub-skills where those differ (``subskills``), small ones shrunk toward
their parent, ranked by the probability of lying below the target, then by expected shortfall times
weight; the budget goes to what is not split further. Weights add up to 1 over a benchmark's categories, as
its headline is their mean: else one of six categories counts against four benchmarks as much as a whole one. A verdict ``weak`` is corrected for the number of
places looked at (Benjamini and Hochberg): of all that carry it, at most 5% should be wrong.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from datagen.budget import CAP, FLOOR, Yield, advice, shares
from datagen.completeness import lacking, missing
from datagen.errors import InputError, ResultsError
from datagen.evals.rows import EvalRow
from datagen.remedies import remedy
from datagen.statistics import Estimate, below
from datagen.subskills import Node, across, grow
from datagen.tally import Category, tally
from datagen.weakness import Weakness, read_weaknesses, write_weaknesses

SURE = 0.5  # from this probability on a place gets budget
FALSE = 0.05  # share of "weak" verdicts that may be wrong
LOWEST = 0.05  # least target without ``--target``: a model that fails everywhere is nowhere below its mean
HIGHEST = 0.99  # target that is tested against: no number of right images shows that a model never fails
LEAST = 1e-6  # of a response: what did not move at all keeps the floor, since another build may move it
EXAMPLES = 5
FEWEST = 5  # prompts below which nothing is said (EvalTree's minimum)

__all__ = ["Weakness", "find_weaknesses", "parse_targets", "read_weaknesses", "write_weaknesses"]

Target = float | Mapping[str, float] | None


def find_weaknesses(
    rows: Iterable[EvalRow],
    target: Target = None,
    recipes: Mapping[str, str] | None = None,
    yields: Mapping[str, Yield] | None = None,
    floor: float = FLOOR,
    cap: float = CAP,
    responses: Mapping[str, float] | None = None,
) -> list[Weakness]:
    """Every category, weakest first, each followed by its sub-skills. ``rows`` may be a stream.

    ``target``: one score, or scores by category, benchmark or id ("" for the rest). ``recipes``: category
    -> the recipe that targets it. ``yields``: recipe -> what of its last build passed. ``responses``:
    recipe -> what a prompt of it moved in the last turn (``datagen.budget.responses``), in the yield's place.
    Raises ``InputError`` for a target outside (0, 1], ``ResultsError`` when nothing was scored.
    """
    goals = dict(target) if isinstance(target, Mapping) else {} if target is None else {"": target}
    for name, goal in goals.items():
        if not 0 < goal <= 1:
            raise InputError(f"--target {name + '=' if name else ''}{goal:g}: must lie in (0, 1]")
    if not 0 <= floor <= cap <= 1:
        raise InputError(f"floor {floor:g} and cap {cap:g}: must be 0 <= floor <= cap <= 1")
    categories = tally(rows)
    roots = grow([c for c in categories if c.scored])
    if not roots:
        raise ResultsError("no row was scored")
    if unknown := [g for g in goals if g and not any(_named(g, n) for n in roots)]:
        valid = ", ".join(sorted({n.category.name for n in roots}))
        raise InputError(f"--target {unknown[0]}=...: no such category; valid: {valid}")
    look = _Look(goals, roots, recipes or {}, yields or {}, responses or {})
    trees = [look.tree(root, None) for root in roots]
    trees += [[look.one(node, None, 0.0)] for node in across(roots)]
    trees.sort(key=lambda tree: min(map(_rank, tree)))
    flat = [place for tree in trees for place in tree]
    told = [f for f in flat if f.place.verdict != "shown"]
    share = _budget(trees, floor, cap)
    flat[0] = flat[0]._replace(place=_lacking(flat[0].place, categories))
    sure = _sure({f.place.id: f.p for f in told if f.place.verdict != "too few"})
    return [
        replace(w, budget=share.get(w.id, 0.0), verdict="weak" if w.id in sure else w.verdict)
        for w in (f.place for f in flat)
    ]


def parse_targets(given: Sequence[str]) -> dict[str, float]:
    """``["0.9", "style=0.4"]`` to targets by name, "" for all others. Raises ``InputError``."""
    out: dict[str, float] = {}
    for text in given:
        name, _, value = text.rpartition("=")
        try:
            goal = float(value)
        except ValueError as error:
            raise InputError(f"--target {text!r}: give a score like 0.9, or NAME=0.4") from error
        if name in out:
            raise InputError(f"--target {text!r}: given twice")
        out[name] = goal
    return out


def _lacking(w: Weakness, categories: Sequence[Category]) -> Weakness:
    """The first weakness with a note on the categories that the results do not have, or nobody judged."""
    present = [c.name for c in categories if c.benchmark == w.benchmark]
    unjudged = [
        f"{c.benchmark}/{c.name}: {c.unscored} rows, none scored, left out"
        for c in categories
        if not c.scored
    ]
    return replace(w, note="; ".join(filter(None, (w.note, *lacking(w.benchmark, present), *unjudged))))


def _named(goal: str, node: Node) -> bool:
    name = _id(node)
    return goal in (node.category.name, node.category.benchmark, name) or goal.startswith(f"{name}/")


def _means(roots: Sequence[Node]) -> dict[str, float]:
    """Unweighted over a benchmark's categories, as GenEval's overall is, without those of too few prompts."""
    found: dict[str, list[Estimate]] = {}
    for node in roots:
        if node.category.ranked:
            found.setdefault(node.category.benchmark, []).append(node.estimate)
    told = {b: [e for e in some if not _few(e)] or some for b, some in found.items()}
    return {b: max(sum(e.mean for e in some) / len(some), LOWEST) for b, some in told.items()}


def _few(e: Estimate) -> bool:
    return 0 < e.clusters < FEWEST


class _Found(NamedTuple):
    place: Weakness
    want: float  # of the budget: shortfall x weight x yield
    p: float  # of its own rows against "not below the target", before shrinkage


def _rank(found: _Found) -> tuple[bool, float, float, str]:
    w = found.place
    return w.verdict == "shown", -round(w.probability, 3), -found.want, w.id


def _budget(trees: Sequence[Sequence[_Found]], floor: float, cap: float) -> dict[str, float]:
    """Shares by place. Floor and cap are a category's: being split in six must not multiply its floor by six."""
    leaves = [
        {
            f.place.id: f.want
            for f in tree
            if f.place.verdict != "shown" and not f.place.split and f.place.probability >= SURE and f.want > 0
        }
        for tree in trees
    ]
    wants = {str(i): sum(some.values()) for i, some in enumerate(leaves) if some}
    return {
        place: share * want / wants[i]
        for i, share in shares(wants, floor, cap).items()
        for place, want in leaves[int(i)].items()
    }


def _sure(found: Mapping[str, float]) -> set[str]:
    """Benjamini and Hochberg over the places' own one-sided p-values, by id."""
    ordered = sorted(found, key=lambda name: found[name])
    last = max((n for n, name in enumerate(ordered, 1) if found[name] <= FALSE * n / len(ordered)), default=0)
    return set(ordered[:last])


class _Look:
    """Turns nodes into weaknesses, with all that is the same for every one of them."""

    def __init__(
        self,
        goals: Mapping[str, float],
        roots: Sequence[Node],
        recipes: Mapping[str, str],
        yields: Mapping[str, Yield],
        responses: Mapping[str, float],
    ) -> None:
        self.goals, self.recipes, self.yields, self.responses = goals, recipes, yields, responses
        self.means = _means(roots)
        self.votes = Counter(n.category.benchmark for n in roots if n.category.ranked)
        known = [y.smoothed for y in yields.values() if not y.hopeless]
        self.usual = sum(known) / len(known) if known else 1.0

    def tree(self, node: Node, parent: Weakness | None) -> list[_Found]:
        """The node, then its children, weakest first."""
        here = self.one(node, parent, node.weight)
        parts = sorted(
            (self.tree(child, here.place) for child in node.children), key=lambda tree: _rank(tree[0])
        )
        return [here, *(found for tree in parts for found in tree)]

    def one(self, node: Node, parent: Weakness | None, weight: float) -> _Found:
        category, e, place = node.category, node.estimate, _id(node)
        goal, own = self._goal(node, place)
        ranked = category.ranked or own
        tested = min(goal, HIGHEST)
        probability, shortfall = below(e, tested) if ranked else (0.0, 0.0)
        reached = e.mean >= goal - 1e-9  # whatever its few prompts leave open, its score shows no weakness
        recipe, suggestion = self._recipe(node)
        found = self.yields.get(recipe or "")
        rate = 0.0 if found and found.hopeless else found.smoothed if found else self.usual
        if self.responses:
            usual = sum(self.responses.values()) / len(self.responses)
            rate = max(self.responses.get(recipe or "", usual), LEAST)
        marks = [] if category.totals else [int(s) for s in node.signatures]
        few = _few(e)
        w = Weakness(
            id=place,
            category=category.name,
            n=e.n,
            prompts=e.clusters,
            score=e.mean,
            low=e.low,
            high=e.high,
            target=goal,
            gap=goal - e.mean,
            probability=probability,
            shortfall=shortfall,
            budget=0.0,
            recipe=recipe,
            examples=_examples(category, marks),
            note="; ".join(_notes(node, few)),
            label=_label(node),
            benchmark=category.benchmark,
            parent=parent.id if parent else None,
            facets={s.dimension: s.value for s in node.path if not s.besides},
            shrunk=e.a / (e.a + e.b),
            verdict=_verdict(ranked, few, reached, probability),
            split=node.split,
            suggestion=suggestion,
            failures=_failures(category, marks),
            rate=found.rate if found else None,
            advice=advice(found) if found and found.hopeless and probability >= SURE else "",
            unscored=category.unscored if not node.path else 0,
        )
        weight /= max(1, self.votes[category.benchmark])
        own_rows = replace(e, a=e.mean * e.effective + 0.5, b=(1 - e.mean) * e.effective + 0.5)
        want = 0.0 if reached else shortfall * weight * rate
        return _Found(w, want, 1.0 if reached else 1 - below(own_rows, tested)[0])

    def _goal(self, node: Node, place: str) -> tuple[float, bool]:
        """The target, and whether it is this category's own."""
        names = [place, *(place.rsplit("/", i)[0] for i in range(1, place.count("/") + 1))]
        for name in (*names, node.category.name):
            if name in self.goals and name not in ("", node.category.benchmark):
                return self.goals[name], True
        usual = self.means.get(node.category.benchmark, node.estimate.mean)
        return self.goals.get(node.category.benchmark, self.goals.get("", usual)), False

    def _recipe(self, node: Node) -> tuple[str | None, str | None]:
        recipe, suggestion = self.recipes.get(node.category.name), None
        if recipe is None:
            asked = _id(node, besides=False)  # not for what a leftover leaves out
            recipe, suggestion = remedy(asked, set(self.recipes.values()), node.category.benchmark)
        return recipe, suggestion


def _id(node: Node, besides: bool = True) -> str:
    category = node.category
    steps = [
        f"{s.dimension}!={'+'.join(s.besides) if besides else ''}"
        if s.besides
        else f"{s.dimension}={s.value}"
        for s in node.path
    ]
    return "/".join(x for x in (category.benchmark, category.name, *steps) if x)


def _label(node: Node) -> str:
    name = "any category" if node.across else node.category.name
    return ", ".join([name, *(f"{s.dimension} {s.value}" if not s.besides else f"{s.dimension}: the others"
                              for s in node.path)])  # fmt: skip


def _verdict(ranked: bool, few: bool, reached: bool, probability: float) -> str:
    if not ranked:
        return "shown"
    if few:
        return "too few"
    likely = probability >= SURE and not reached
    return "likely" if likely else "unclear" if probability >= FALSE else "fine"


def _notes(node: Node, few: bool) -> list[str]:
    category, e = node.category, node.estimate
    out = list(category.notes)
    if category.totals and not any("interval" in n for n in out):
        out.append("totals only: interval widened by the usual design effect of 2.5")
    if few:
        out.append(f"only {e.clusters} prompts")
    if node.across:
        out.append("worse than the rest in every category's own terms; counted in the categories already")
    if not node.path:
        out += missing(category.benchmark, category.name, e.clusters)
    return out


def _examples(category: Category, marks: Iterable[int]) -> tuple[str, ...]:
    """Failing prompts with what went wrong in words, one a prompt."""
    found: dict[str, str] = {}
    for mark in marks:
        for prompt, words in category.examples.get(mark, {}).items():
            found.setdefault(prompt, words)
            if len(found) == EXAMPLES:
                return tuple(found.values())
    return tuple(found.values())


def _failures(category: Category, marks: Iterable[int]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for mark in marks:
        counts.update(category.failures.get(mark, {}))
    return dict(counts.most_common())
