"""Categories to a tree of sub-skills: a part of its own only where the parts truly differ.

Level by level, every facet of every node is tested (``splits``), the p-values of a level corrected
together by Holm, and a node is split by the facet that tells most. Of many values only those that
differ from the rest become children, the others stay together. Facets that several categories share (a
class, a colour) are also looked at across categories, each prompt against its own category's mean.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from scipy import special

from datagen.evals.rows import EvalRow
from datagen.shrinkage import shrink
from datagen.splits import FEWEST, Test, differ, dimensions, members, moments, totals_differ
from datagen.statistics import Estimate, estimate, from_total, holm
from datagen.tally import Category, Rows

ALPHA = 0.05
DEPTH = 2  # facets below a category
SHOWN = 6  # values up to which all become children


class Step(NamedTuple):
    """One edge of the tree: ``value`` of ``dimension``, or every value but those ``besides``."""

    dimension: str
    value: str
    besides: tuple[str, ...] = ()


@dataclass
class Node:
    """A category or a part of it. ``weight``: its share of the parent; a category weighs 1."""

    category: Category
    path: tuple[Step, ...]
    rows: Rows
    estimate: Estimate
    weight: float = 1.0
    children: list["Node"] = field(default_factory=list)
    split: str = ""
    p: float = 1.0  # of the split, corrected
    across: bool = False  # over the categories of a benchmark: counted in them already

    @property
    def signatures(self) -> np.ndarray:
        return np.unique(self.rows.signature)


def grow(categories: Sequence[Category]) -> list[Node]:
    """The categories as trees, each node with its shrunk estimate."""
    roots = [_root(c) for c in categories]
    level = roots
    for _ in range(DEPTH):
        level = _split_level(level)
    for group in _by_benchmark(roots).values():
        group = [n for n in group if n.category.ranked]
        means = [n.estimate.mean for n in group]
        for node, shrunk in zip(group, shrink([n.estimate for n in group], sum(means) / max(len(means), 1))):
            node.estimate = shrunk
    return roots


def _by_benchmark(roots: Sequence[Node]) -> dict[str, list[Node]]:
    out: dict[str, list[Node]] = {}
    for node in roots:
        out.setdefault(node.category.benchmark, []).append(node)
    return out


def _root(category: Category) -> Node:
    rows = Rows.of(category)
    if not category.totals:
        return Node(category, (), rows, _estimate(rows))
    own = [t for t in category.totals if not t.facets] or category.totals
    return Node(category, (), rows, _total(own))


def _estimate(rows: Rows) -> Estimate:
    sums, counts = rows.by_prompt()
    return estimate(sums, counts, float(rows.score @ rows.score))


def _total(rows: Sequence[EvalRow]) -> Estimate:
    n = sum(r.summary for r in rows)
    mean = sum((r.score or 0.0) * r.summary for r in rows) / n
    return from_total(min(max(mean, 0.0), 1.0), n, rows[0].stderr if len(rows) == 1 else None)


def _split_level(level: Sequence[Node]) -> list[Node]:
    """Split what differs; returns the children. One Holm correction over all tests of the level."""
    found = [(node, test) for node in level for test in _tests(node)]
    adjusted = holm([test.p for _, test in found])
    best: dict[int, tuple[float, Test]] = {}
    for (node, test), p in zip(found, adjusted, strict=True):
        if p < ALPHA and (id(node) not in best or test.p < best[id(node)][1].p):
            best[id(node)] = p, test
    out = []
    for node in level:
        if id(node) in best:
            node.p, test = best[id(node)]
            node.children = _children(node, test)
            node.split = test.dimension if node.children else ""
            out += node.children
    return out


def _tests(node: Node) -> list[Test]:
    if node.category.totals:
        parts = _parts(node.category) if not node.path else {}
        found = [
            totals_differ(d, list(v), [_total([t]) for t in v.values()])
            for d, v in parts.items()
            if len(v) > 1
        ]
        return found
    used = {step.dimension for step in node.path}
    if any(step.besides for step in node.path):
        return []  # what is left over is not looked into again
    tests = (differ(node.rows, d) for d in dimensions(node.rows) if d not in used)
    return [t for t in tests if t is not None]


def _parts(category: Category) -> dict[str, dict[str, EvalRow]]:
    out: dict[str, dict[str, EvalRow]] = {}
    for total in category.totals:
        for dimension, value in total.facets:
            out.setdefault(dimension, {})[value] = total
    return out


def _children(node: Node, test: Test) -> list[Node]:
    if node.category.totals:
        parts = _parts(node.category)[test.dimension]
        whole = sum(t.summary for t in parts.values())
        children = [
            Node(
                node.category,
                (*node.path, Step(test.dimension, v)),
                node.rows,
                _total([t]),
                t.summary / whole,
            )
            for v, t in parts.items()
        ]
    else:
        children = _row_children(node, test)
    parent = node.estimate.mean
    for child, shrunk in zip(children, shrink([c.estimate for c in children], parent), strict=True):
        child.estimate = shrunk
    return children


def _row_children(node: Node, test: Test) -> list[Node]:
    shown = _shown(test)
    marks = {v: members(node.rows, test.dimension, v) for v in shown}
    left = ~np.any(np.stack(list(marks.values())), axis=0)
    steps = [(Step(test.dimension, v), m) for v, m in marks.items()]
    steps.append((Step(test.dimension, "", shown), left))
    children = []
    for step, mark in steps:
        rows = node.rows.where(mark)
        if rows.prompts >= FEWEST:
            children.append(Node(node.category, (*node.path, step), rows, _estimate(rows), rows.prompts))
    whole = sum(c.weight for c in children)
    for child in children:
        child.weight *= node.weight / whole
    return children


def _shown(test: Test) -> tuple[str, ...]:
    """The values that become children: all of a few, of many those that differ from the rest."""
    if len(test.values) <= SHOWN:
        return test.values
    adjusted = holm([float(2 * special.ndtr(-abs(z))) for z in test.z])
    differing = tuple(v for v, p in zip(test.values, adjusted, strict=True) if p < ALPHA)
    return differing or (test.values[int(np.argmin(test.z))],)


def across(roots: Sequence[Node]) -> list[Node]:
    """Values worse than the rest over several categories of one benchmark, each against its category."""
    found = []
    for group in _by_benchmark(roots).values():
        usable = [n for n in group if n.category.ranked and not n.category.totals]
        names = [set(dimensions(n.rows)) for n in usable]
        shared = (
            sorted(d for d in set().union(*names) if sum(d in mine for mine in names) > 1) if names else []
        )
        found += [node for d in shared for node in _across(usable, d)]
    return found


def _across(roots: Sequence[Node], dimension: str) -> list[Node]:
    mine = [n for n in roots if dimension in dimensions(n.rows)]
    names = list(
        dict.fromkeys(v for n in mine for s in n.signatures for d, v in n.rows.facets[s] if d == dimension)
    )
    moved, cov, prompts = np.zeros(len(names)), np.zeros((len(names), len(names))), np.zeros(len(names))
    for node in mine:
        rows = node.rows
        kinds = np.stack([members(rows, dimension, v) for v in names], axis=1).astype(float)
        same = rows.prompt[1:] == rows.prompt[:-1]
        if np.any(same & (rows.signature[1:] != rows.signature[:-1])):
            return []  # a facet of questions, not of prompts
        kind = rows.signature[np.concatenate([[True], ~same])]
        sums, counts = rows.by_prompt()
        m, c = moments(sums / counts, kind, kinds)
        moved, cov, prompts = moved + m, cov + c, prompts + kinds[kind].sum(0)
    enough = (prompts >= FEWEST) & (np.diag(cov) > 1e-12)
    if enough.sum() < 2:
        return []
    z = moved[enough] / np.sqrt(np.diag(cov)[enough])
    adjusted = holm([float(special.ndtr(x)) for x in z])  # one-sided: only what is worse
    worse = [v for v, p in zip(np.array(names)[enough], adjusted, strict=True) if p < ALPHA]
    return [_joined(mine, dimension, str(v)) for v in worse]


def _joined(roots: Sequence[Node], dimension: str, value: str) -> Node:
    """One node over the rows of several categories. Their prompts stay apart."""
    parts = [n.rows.where(members(n.rows, dimension, value)) for n in roots]
    offsets = np.cumsum([0] + [p.prompts for p in parts[:-1]])
    prompt = np.concatenate([p.prompt + o for p, o in zip(parts, offsets, strict=True)])
    joined = Category(roots[0].category.benchmark, "all categories")
    signature, score = np.zeros(len(prompt), np.uint16), np.concatenate([p.score for p in parts])
    for root, part in zip(roots, parts, strict=True):
        for s in np.unique(part.signature):
            joined.examples.setdefault(0, {}).update(root.category.examples.get(int(s), {}))
            joined.failures.setdefault(0, Counter()).update(root.category.failures.get(int(s), Counter()))
    rows = Rows(prompt, signature, score, [((dimension, value),)])
    return Node(joined, (Step(dimension, value),), rows, _estimate(rows), 0.0, across=True)
