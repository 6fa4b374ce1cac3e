"""The loop that writes prompts: sample a target, ask the LLM, read back, keep what is right and new.

Rejections are counted by cause. A guard (near-duplicates, overlap with evaluation, over-full regions;
``datagen.dedupe`` has the real one) sees every prompt that asks for its target, and is asked before
the LLM is, so that a region which is full costs nothing.
"""

import re
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Protocol

from datagen.llm.base import DEADLY, LLM, Pooled, WriteRequest
from datagen.prompts.asking import ask_back
from datagen.prompts.parser import check_prompt
from datagen.prompts.wording import NUMBER_WORDS, phrase
from datagen.recipe import Recipe
from datagen.sample import Sample, Target, content_id, content_seed
from datagen.spill import Digests
from datagen.targets import VOCABULARIES, Vocabulary, draw_targets

REGION_FULL = "region is full"  # after this cause, and ``DEADLY``, a target is not tried again


class Guard(Protocol):
    """What a new prompt must pass once it asks for its target."""

    def full(self, phrases: Sequence[str]) -> list[bool]:
        """Whether the region of each phrase holds enough prompts already."""
        ...

    def refuse(self, samples: Sequence[Sample], phrases: Sequence[str]) -> list[str]:
        """The cause for each sample, in order; empty: it is kept, and later ones are held against it."""
        ...


@dataclass(frozen=True)
class PromptResult:
    """What was written: ``samples`` in order, unless they were handed on, and the counts a report needs.

    ``wordings``: distinct ones once the targets' own words are blanked out. ``skipped``: targets whose region was full, for which no LLM was asked. ``asked_back``: prompts that
    no parser could read and that the LLM itself resolved to their target.
    """

    samples: tuple[Sample, ...]
    written: int
    attempts: int
    wordings: int
    rejected: dict[str, int] = field(default_factory=dict)
    skipped: int = 0
    asked_back: int = 0

    @property
    def acceptance(self) -> float:
        return self.written / self.attempts if self.attempts else 0.0


def _skeleton(prompt: str) -> str:
    words = re.findall(r"[a-z']+", prompt.lower())
    return " ".join("_" if w in _content() else w for w in words)


@cache
def _content() -> set[str]:
    """The words of targets, of any vocabulary."""
    content = set(NUMBER_WORDS)
    for v in VOCABULARIES.values():
        content |= {*v.colors, *v.sizes, *v.classes, *v.classes.values()}
    return content


@dataclass(frozen=True)
class _Try:
    """One target waiting for a prompt: its place among the targets, and how often it was tried."""

    target: Target
    index: int
    tries: int
    phrase: str


def write_prompts(
    recipe: Recipe,
    vocabulary: Vocabulary,
    llm: LLM,
    n: int,
    seed: int,
    batch: int = 32,
    guard: Guard | None = None,
    keep: Callable[[Sample], None] | None = None,
    folder: Path | None = None,
) -> PromptResult:
    """``n`` distinct prompts on the building side of the split, each read back to its target.

    ``keep`` gets each as soon as it stands, in order, instead of the result; what must be remembered of it lies
    in scratch files in ``folder``.
    A target is tried ``recipe.prompts.attempts`` times and then replaced by another; fewer than
    ``n`` come back only if ten times as many targets were used up. Raises what the LLM raises.
    """
    settings = recipe.prompts

    def request(t: _Try) -> WriteRequest:
        own = content_seed(recipe.name, seed, t.index, t.tries)
        return WriteRequest(t.phrase, settings.guidance, settings.examples, own)

    targets = draw_targets(
        recipe.targets.sampler, vocabulary, content_seed(recipe.name, seed), recipe.targets.params
    )
    firsts: Iterator[_Try] = (
        _Try(target, i, 0, phrase(target, vocabulary, i)) for i, target in enumerate(islice(targets, 10 * n))
    )
    if isinstance(llm, Pooled):
        firsts = _asked_ahead(firsts, llm, request, max(batch, llm.at_once))
    samples: list[Sample] = []
    keep = samples.append if keep is None else keep
    known, wordings = Digests(folder), Digests(folder)
    rejected: Counter[str] = Counter()
    attempts, skipped, asked_back = 0, 0, 0
    waiting: list[_Try] = []
    used_up = False
    while len(known) < n and (waiting or not used_up):
        while (room := min(batch, n - len(known)) - len(waiting)) > 0 and not used_up:
            more = list(islice(firsts, room))
            used_up = len(more) < room
            closed = guard.full([t.phrase for t in more]) if guard else [False] * len(more)
            skipped += sum(closed)
            waiting += [t for t, shut in zip(more, closed, strict=True) if not shut]
        replies = llm.write([request(t) for t in waiting])
        attempts += len(waiting)
        texts = [" ".join(reply.text.split()) for reply in replies]
        causes = [
            check_prompt(text, t.target, vocabulary) if text else reply.cause or "empty"
            for text, reply, t in zip(texts, replies, waiting, strict=True)
        ]
        if settings.check == "ask":
            asked_back += ask_back(llm, texts, [t.target for t in waiting], causes, vocabulary)
        seen: set[str] = set()
        for i, text in enumerate(texts):
            if not causes[i] and (text.lower() in seen or text.lower() in known):
                causes[i] = "duplicate"
            if not causes[i]:
                seen.add(text.lower())
        good = [i for i, cause in enumerate(causes) if not cause]
        made = {
            i: Sample(
                prompt=texts[i],
                target=waiting[i].target,
                group_id=content_id(recipe.name, texts[i]),
                recipe=recipe.name,
                weakness=recipe.weakness,
                llm=llm.name,
            )
            for i in good
        }
        if guard and good:
            refused = guard.refuse([made[i] for i in good], [waiting[i].phrase for i in good])
            for i, cause in zip(good, refused, strict=True):
                causes[i] = cause
        again = []
        for i, (cause, t) in enumerate(zip(causes, waiting, strict=True)):
            if not cause:
                known.add(texts[i].lower())
                wordings.add(_skeleton(texts[i]))
                keep(made[i])
                continue
            rejected[cause.split(" '")[0]] += 1
            if t.tries + 1 < settings.attempts and cause not in (REGION_FULL, DEADLY):
                words = phrase(t.target, vocabulary, t.index + t.tries + 1)
                again.append(_Try(t.target, t.index, t.tries + 1, words))
        waiting = again
    return PromptResult(
        tuple(samples), len(known), attempts, len(wordings), dict(rejected), skipped, asked_back
    )


def _asked_ahead(
    tries: Iterator[_Try], llm: Pooled, request: Callable[[_Try], WriteRequest], batch: int
) -> Iterator[_Try]:
    """The same tries in the same order, those that are due soon already asked for."""
    soon: deque[_Try] = deque()
    while part := list(islice(tries, batch)):
        llm.prefetch([request(t) for t in part])
        soon += part
        while len(soon) > llm.ahead:
            yield soon.popleft()
    yield from soon


def distinct_n(prompts: Iterable[str], n: int = 2) -> float:
    """Share of distinct word n-grams: 1.0 when no two are equal. They are told apart by their hashes."""
    grams: set[int] = set()
    total = 0
    for prompt in prompts:
        words = prompt.lower().split()
        found = [hash(tuple(words[i : i + n])) for i in range(len(words) - n + 1)]
        total += len(found)
        grams.update(found)
    return len(grams) / total if total else 0.0
