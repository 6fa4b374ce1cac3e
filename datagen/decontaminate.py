"""Keep evaluation prompts out of a build: the same words, the same target, the same opening, a near text.

n-gram filters miss short prompts (46% of GenEval's have under eight words), so the canonical target key
does most of the work: it is read out of evaluation prompts by the same parser. Normalised words cover
prompts without a readable target, neighbours in an embedding (``datagen.dedupe``) what is nearly them,
and openings the benchmark's habit of wording, which a model must not learn to recognise.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from datagen.errors import InputError
from datagen.prompts import Rejected, read_prompt
from datagen.sample import Sample
from datagen.targets import Vocabulary

SAME_WORDS = "same words as an evaluation prompt"
SAME_TARGET = "same target as an evaluation prompt"
SAME_OPENING = "same opening as an evaluation prompt"
NEAR = "near an evaluation prompt"
OVERLAPS = (SAME_WORDS, SAME_TARGET, SAME_OPENING, NEAR)
COMMON = 0.2  # share of a file's prompts from which its first two words are its opening
FIELDS = ("prompt", "Prompt", "text", "caption")  # of a JSON row, the first that is there

Nearest = Callable[[Sequence[str]], list[tuple[str, float]]]  # prompts -> (evaluation prompt, similarity)


def normalise(prompt: str) -> str:
    """Lower-case words only, articles dropped."""
    words = re.findall(r"[a-z0-9']+", prompt.lower())
    return " ".join(w for w in words if w not in ("a", "an", "the"))


@dataclass(frozen=True)
class Evaluation:
    """What a build must not overlap: prompts by normalised words and by target key, and openings."""

    words: Mapping[str, str] = field(default_factory=dict)  # normalised -> prompt
    keys: Mapping[str, str] = field(default_factory=dict)  # target key -> prompt
    openings: tuple[str, ...] = ()  # normalised

    @classmethod
    def of(cls, samples: Iterable[Sample], openings: Iterable[str] = ()) -> "Evaluation":
        """Of prompts whose targets are known."""
        some = list(samples)
        begins = tuple(sorted({b for o in openings if (b := normalise(o))}))
        return cls(
            {normalise(s.prompt): s.prompt for s in some}, {s.target.key: s.prompt for s in some}, begins
        )

    def with_prompts(self, prompts: Iterable[str], vocabulary: Vocabulary) -> "Evaluation":
        """These prompts too: targets are read where the parser can, openings where many share one."""
        some = list(prompts)
        keys = dict(self.keys)
        for prompt in some:
            try:
                target = read_prompt(prompt, vocabulary, most=200)
            except Rejected:
                continue
            keys.setdefault(target.key, prompt)
        openings = (*self.openings, *common_openings(some))
        return Evaluation(
            {**self.words, **{normalise(p): p for p in some}}, keys, tuple(sorted(set(openings)))
        )

    @property
    def prompts(self) -> list[str]:
        return list(self.words.values())

    def overlap(self, sample: Sample) -> tuple[str, str]:
        """The reason why ``sample`` must go and the prompt (or opening) it overlaps; empty if it may stay."""
        words = normalise(sample.prompt)
        if words in self.words:
            return SAME_WORDS, self.words[words]
        if (key := sample.target.key) in self.keys:
            return SAME_TARGET, self.keys[key]
        for opening in self.openings:
            if words == opening or words.startswith(f"{opening} "):
                return SAME_OPENING, opening
        return "", ""


@dataclass(frozen=True)
class Dropped:
    """A prompt that did not stay: why, what it is like, and the nearest prompt that stayed."""

    prompt: str
    reason: str
    like: str
    similarity: float | None = None
    survivor: str = ""


def decontaminate(
    samples: Sequence[Sample], evaluation: Evaluation, nearest: Nearest | None = None, threshold: float = 1.0
) -> tuple[list[Sample], list[Dropped]]:
    """The samples that no evaluation prompt overlaps, and the others with their reasons."""
    near = nearest([s.prompt for s in samples]) if nearest and samples else [("", 0.0)] * len(samples)
    kept: list[Sample] = []
    dropped: list[Dropped] = []
    for sample, (like, similarity) in zip(samples, near, strict=True):
        reason, what = evaluation.overlap(sample)
        if reason:
            dropped.append(Dropped(sample.prompt, reason, what))
        elif similarity >= threshold and nearest:
            dropped.append(Dropped(sample.prompt, NEAR, like, similarity))
        else:
            kept.append(sample)
    return kept, dropped


def common_openings(prompts: Sequence[str], share: float = COMMON) -> list[str]:
    """The first two words that at least ``share`` of five or more prompts begin with, normalised."""
    counts = Counter(" ".join(normalise(p).split()[:2]) for p in prompts)
    return [o for o, n in counts.items() if o and n >= 5 and n >= share * len(prompts)]


def read_prompts(path: Path) -> list[str]:
    """The prompts of a file: one a line, or the field ``prompt`` of JSON rows or of a JSON list.

    Raises ``InputError`` naming the file and the line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error
    if path.suffix == ".json":
        try:
            rows = json.loads(text)
        except ValueError as error:
            raise InputError(f"{path}: not JSON: {error}") from error
        if not isinstance(rows, list):
            raise InputError(f"{path}: a JSON file of prompts is a list")
        found = [_prompt_of(row, f"{path}: item {i}") for i, row in enumerate(rows)]
    elif path.suffix == ".jsonl":
        found = []
        for i, line in enumerate(text.split("\n"), start=1):  # a separator inside a string ends no line
            if line.strip():
                try:
                    found.append(_prompt_of(json.loads(line), f"{path}:{i}"))
                except ValueError as error:
                    raise InputError(f"{path}:{i}: not JSON: {error}") from error
    else:
        found = [line.strip() for line in text.splitlines() if line.strip()]
    if not found:
        raise InputError(f"{path}: holds no prompt")
    return list(dict.fromkeys(found))


def _prompt_of(row: object, where: str) -> str:
    if isinstance(row, dict):
        row = next((row[f] for f in FIELDS if f in row), None)
    if not isinstance(row, str) or not row.strip():
        raise InputError(f"{where}: no prompt; give text, or an object with one of {', '.join(FIELDS)}")
    return row.strip()
