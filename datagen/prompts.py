"""Weakness and target to prompt: an LLM writes it, a parser reads it back, and only an exact match stays.

The parser is strict on purpose. It knows the vocabulary's words; any of them outside the phrase it
expects (a second colour, a stray number, a negation) rejects the prompt. Rejections are counted by
cause. What is left out: anything about the picture.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from datagen.llm.base import LLM, WriteRequest
from datagen.recipe import Recipe
from datagen.sample import Clause, Sample, Target, content_id, content_seed
from datagen.targets import Vocabulary, sample_targets

NUMBER_WORDS = {
    "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10,
}  # fmt: skip
RELATION_PHRASES = {
    "left of": ("to the left of", "on the left of", "left of"),
    "right of": ("to the right of", "on the right of", "right of"),
    "above": ("above",),
    "below": ("below",),
}
MAX_WORDS = 25
# Words that change what is asked for: place, negation, number, size, shape.
_STRAY = {
    "left", "right", "above", "below", "under", "beneath", "over", "underneath", "top", "middle", "bottom",
    "center", "centre", "corner", "side", "beside", "behind", "inside", "outside", "between", "around",
    "near", "next", "front", "no", "not", "without", "except", "none", "never", "neither", "nor", "zero",
    "another", "both", "several", "many", "few", "pair", "pairs", "dozen", "dozens", "multiple", "other",
    "others", "each", "every", "more", "extra", "eleven", "twelve", "twenty", "hundred", "single", "double",
    "triple", "twice", "half", "big", "tiny", "huge", "giant", "little", "shaped",
}  # fmt: skip


def article(noun: str) -> str:
    return "an" if noun[0] in "aeiou" else "a"


def noun_phrase(clause: Clause, vocabulary: Vocabulary) -> str:
    """``a small red circle``, ``three hearts``."""
    noun = clause.cls if clause.count == 1 else vocabulary.classes[clause.cls]
    words = " ".join(x for x in (clause.size, clause.color, noun) if x)
    if clause.count == 1:
        return f"{article(words)} {words}"
    number = next((w for w, n in NUMBER_WORDS.items() if n == clause.count), str(clause.count))
    return f"{number} {words}"


def phrase(target: Target, vocabulary: Vocabulary, variant: int = 0) -> str:
    """The words that carry the target; ``variant`` picks the wording of a relation."""
    parts = [noun_phrase(c, vocabulary) for c in target.include]
    related = [(i, c.position) for i, c in enumerate(target.include) if c.position]
    if len(parts) == 2 and related:
        i, (relation, other) = related[0][0], related[0][1] or ("", 0)
        wordings = RELATION_PHRASES[relation]
        return f"{parts[i]} {wordings[variant % len(wordings)]} {parts[other]}"
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def parse_prompt(text: str, vocabulary: Vocabulary) -> tuple[tuple[Clause, ...] | None, str]:
    """The clauses a prompt asks for, or None and the cause.

    At most one relation, between two clauses; it is attached to the later clause in the order of a
    ``Target`` (the one it is relative to comes first).
    """
    lowered = re.sub(r"'s?\b|[^\w\s']", " ", text.lower().replace("’", "'"))  # a star's light names a star
    words = lowered.split()
    if len(words) > MAX_WORDS:
        return None, "too long"
    relation, cut = "", -1
    for name, wordings in RELATION_PHRASES.items():
        for wording in wordings:
            parts = wording.split()
            for i in range(len(words) - len(parts) + 1):
                if words[i : i + len(parts)] == parts:
                    if relation:
                        return None, "two relations"
                    relation, cut = name, i
                    words[i : i + len(parts)] = ["|"] * len(parts)
                    break
    plural = {p: s for s, p in vocabulary.classes.items()}
    known = {*vocabulary.colors, *vocabulary.sizes, *NUMBER_WORDS}
    clauses: list[tuple[int, Clause]] = []
    used: set[int] = set()
    for i, word in enumerate(words):
        if word not in vocabulary.classes and word not in plural:
            continue
        cls = plural.get(word, word)
        j, color, size, count = i - 1, None, None, 0
        if j >= 0 and words[j] in vocabulary.colors:
            color, j = words[j], j - 1
        if j >= 0 and words[j] in vocabulary.sizes:
            size, j = words[j], j - 1
        if j >= 0 and words[j] in NUMBER_WORDS:
            count, j = NUMBER_WORDS[words[j]], j - 1
        elif j >= 0 and words[j].isdigit():
            count, j = int(words[j]), j - 1
        elif j >= 0 and words[j] in ("a", "an", "one"):
            count, j = 1, j - 1
        if (count == 1) != (word in vocabulary.classes) or count == 0:
            return None, "no number for an object"
        used.update(range(j + 1, i + 1))
        clauses.append((i, Clause(cls, count, color, size)))
    for i, word in enumerate(words):
        if i not in used and (word in known or word in _STRAY or word.isdigit() or word == "one"):
            return None, f"stray word {word!r}"
    if not clauses:
        return None, "no object"
    if relation:
        before = [c for i, c in clauses if i < cut]
        after = [c for i, c in clauses if i > cut]
        if len(before) != 1 or len(after) != 1:
            return None, "a relation needs two objects"
        moved = before[0]
        return (
            after[0],
            Clause(moved.cls, moved.count, moved.color, moved.size, (relation, 0)),
        ), ""
    return tuple(c for _, c in clauses), ""


def check_prompt(text: str, target: Target, vocabulary: Vocabulary) -> str:
    """Empty if the prompt asks for exactly the target, else the cause."""
    clauses, cause = parse_prompt(text, vocabulary)
    if clauses is None:
        return cause
    return "" if Target(target.tag, clauses).key == target.key else "asks for something else"


@dataclass(frozen=True)
class PromptResult:
    """What was written: ``samples`` in order, and the counts a report needs."""

    samples: tuple[Sample, ...]
    attempts: int
    rejected: dict[str, int] = field(default_factory=dict)

    @property
    def acceptance(self) -> float:
        return len(self.samples) / self.attempts if self.attempts else 0.0

    @property
    def wordings(self) -> int:
        """Distinct wordings once the target's own words are blanked out."""
        return len({_skeleton(s.prompt) for s in self.samples})


def _skeleton(prompt: str) -> str:
    from datagen.targets import VOCABULARIES

    words = re.findall(r"[a-z']+", prompt.lower())
    content = set(NUMBER_WORDS)
    for v in VOCABULARIES.values():
        content |= {*v.colors, *v.sizes, *v.classes, *v.classes.values()}
    return " ".join("_" if w in content else w for w in words)


def write_prompts(
    recipe: Recipe, vocabulary: Vocabulary, llm: LLM, n: int, seed: int, batch: int = 32
) -> PromptResult:
    """``n`` distinct prompts on the building side of the split, each parsed back to its target.

    A target is tried ``recipe.prompts.attempts`` times and then replaced by another; fewer than
    ``n`` come back only if ten times as many targets were used up. Raises what the LLM raises.
    """
    recipe_prompts = recipe.prompts
    targets = sample_targets(
        recipe.targets.sampler, vocabulary, 10 * n, content_seed(recipe.name, seed), recipe.targets.params
    )
    samples: dict[str, Sample] = {}
    rejected: Counter[str] = Counter()
    attempts, at = 0, 0
    waiting: list[tuple[Target, int, int]] = []  # target, its index, tries so far
    while len(samples) < n and (waiting or at < len(targets)):
        while len(waiting) < min(batch, n - len(samples)) and at < len(targets):
            waiting.append((targets[at], at, 0))
            at += 1
        requests = [
            WriteRequest(
                phrase(target, vocabulary, index + tries),
                recipe_prompts.guidance,
                recipe_prompts.examples,
                content_seed(recipe.name, seed, index, tries),
            )
            for target, index, tries in waiting
        ]
        again = []
        for text, (target, index, tries) in zip(llm.write(requests), waiting, strict=True):
            attempts += 1
            text = " ".join(text.split())
            cause = check_prompt(text, target, vocabulary) if text else "empty"
            if not cause and text.lower() in samples:
                cause = "duplicate"
            if cause:
                rejected[cause.split(" '")[0]] += 1
                if tries + 1 < recipe_prompts.attempts:
                    again.append((target, index, tries + 1))
                continue
            samples[text.lower()] = Sample(
                prompt=text,
                target=target,
                group_id=content_id(recipe.name, text),
                recipe=recipe.name,
                weakness=recipe.weakness,
                llm=llm.name,
            )
        waiting = again
    return PromptResult(tuple(samples.values())[:n], attempts, dict(rejected))


def distinct_n(prompts: Sequence[str], n: int = 2) -> float:
    """Share of distinct word n-grams: 1.0 when no two are equal."""
    grams = [
        tuple(words[i : i + n])
        for words in (p.lower().split() for p in prompts)
        for i in range(len(words) - n + 1)
    ]
    return len(set(grams)) / len(grams) if grams else 0.0
