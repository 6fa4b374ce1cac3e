"""Rows counted up by category: what the statistics need of a million rows, in 18 bytes each.

A row keeps its prompt (64-bit hash), its signature (the facets it was asked with) and its score;
failing prompts are kept as a few examples a signature, ways of failing as counts. So memory follows
the rows' number and not the file's size. What is left out: the rows themselves.
"""

import gc
from array import array
from collections import Counter
from collections.abc import Iterable

import numpy as np
import xxhash

from datagen.evals.rows import EvalRow, Facets
from datagen.reasons import explain

SIGNATURES = 20_000  # different facets of one category; later ones are counted without theirs
EXAMPLES = 5  # failing prompts kept a signature


class Category:
    """The rows of one category of one benchmark."""

    def __init__(self, benchmark: str, name: str) -> None:
        self.benchmark, self.name, self.ranked, self.unscored = benchmark, name, True, 0
        self.prompts, self.signature_of, self.scores = array("Q"), array("H"), array("d")
        self.signatures: dict[Facets, int] = {}
        self.last = ("", xxhash.xxh3_64_intdigest(b""))
        self.totals: list[EvalRow] = []
        self.notes: dict[str, None] = {}
        self.examples: dict[int, dict[str, str]] = {}
        self.failures: dict[int, Counter[str]] = {}

    @property
    def scored(self) -> bool:
        return bool(self.scores or self.totals)

    def add(self, row: EvalRow) -> None:
        score = row.score
        if score is None:
            self.unscored += 1
            return
        if row.note and row.note not in self.notes:
            self.notes[row.note] = None
        if not row.ranked:
            self.ranked = False
        if row.summary:
            self.totals.append(row)
            return
        signature = self.signatures.get(row.facets)
        if signature is None:
            if len(self.signatures) < SIGNATURES:
                signature = self.signatures[row.facets] = len(self.signatures)
            else:
                signature = self.signatures.setdefault((), len(self.signatures))
                self.notes["too many different facets: the later ones are not looked into"] = None
        if row.prompt_id != self.last[0]:
            self.last = (
                row.prompt_id,
                xxhash.xxh3_64_intdigest(row.prompt_id.encode("utf-8", "surrogatepass")),
            )
        self.prompts.append(self.last[1])
        self.signature_of.append(signature)
        self.scores.append(score)
        if score < 1:
            self._failure(signature, row)

    def _failure(self, signature: int, row: EvalRow) -> None:
        way, words = explain(row.reason)
        if way:
            failures = self.failures.get(signature)
            if failures is None:
                failures = self.failures[signature] = Counter()
            failures[way] += 1
        examples = self.examples.get(signature)
        if examples is None:
            examples = self.examples[signature] = {}
        shown = row.prompt or row.prompt_id
        if len(examples) < EXAMPLES and shown not in examples:
            examples[shown] = f"{shown} ({words})"


class Rows:
    """A category's rows sorted by prompt, as numpy arrays of one length.

    ``prompt`` numbers the prompts from 0, ``signature`` indexes ``facets``.
    """

    def __init__(
        self, prompt: np.ndarray, signature: np.ndarray, score: np.ndarray, facets: list[Facets]
    ) -> None:
        self.prompt, self.signature, self.score, self.facets = prompt, signature, score, facets

    @classmethod
    def of(cls, category: Category) -> "Rows":
        if not category.prompts:
            return cls(np.empty(0, np.int32), np.empty(0, np.uint16), np.empty(0), list(category.signatures))
        hashes = np.frombuffer(category.prompts, np.uint64)
        order = np.argsort(hashes, kind="stable")
        prompt = _numbered(hashes[order])
        signature = np.frombuffer(category.signature_of, np.uint16)[order]
        score = np.frombuffer(category.scores, np.float64)[order]
        return cls(prompt, signature, score, list(category.signatures))

    def where(self, wanted: np.ndarray) -> "Rows":
        """Only the rows whose signature is marked in ``wanted`` (a truth value for each of ``facets``)."""
        keep = wanted[self.signature]
        return Rows(_numbered(self.prompt[keep]), self.signature[keep], self.score[keep], self.facets)

    @property
    def prompts(self) -> int:
        return int(self.prompt[-1]) + 1 if len(self.prompt) else 0

    def by_prompt(self) -> tuple[np.ndarray, np.ndarray]:
        """Sum of scores and number of rows of each prompt."""
        return np.bincount(self.prompt, self.score), np.bincount(self.prompt)


def _numbered(ordered: np.ndarray) -> np.ndarray:
    if not len(ordered):
        return np.empty(0, np.int32)
    first = np.empty(len(ordered), dtype=bool)
    first[0] = False
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    return np.cumsum(first, dtype=np.int32)


def tally(rows: Iterable[EvalRow]) -> list[Category]:
    """The categories in the order they first appear, those too of which nothing was ``scored``."""
    found: dict[tuple[str, str], Category] = {}
    collected = gc.isenabled()
    gc.disable()  # rows hold no cycles, and looking for some takes a tenth of the time
    try:
        for row in rows:
            key = row.benchmark, row.category
            category = found.get(key)
            if category is None:
                category = found[key] = Category(*key)
            category.add(row)
    finally:
        if collected:
            gc.enable()
    return list(found.values())
