"""The phrases that a prompt is searched for, compiled once for a vocabulary: longest match first.

``tokens`` turns a prompt into words and marked phrases: nouns, relations, states, facts, settings,
styles and quoted strings. Left out: what they mean together, which is ``parser``.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Literal

from datagen.prompts.wording import RELATION_PHRASES
from datagen.targets import VOCABULARIES, Vocabulary

Kind = Literal["word", "noun", "relation", "state", "fact", "setting", "style", "text"]
_QUOTED = re.compile(r'"([^"]*)"|“([^”]*)”')
_JUNK = re.compile(r"'s?\b|[^\w\s']")  # a star's light names a star
_ITEM = re.compile(r"<(\d+)>|[^\s<>]+")


@dataclass(frozen=True)
class Token:
    """A word, or a known phrase: ``value`` is its meaning, ``number`` 1 or 2 for a noun (0: either)."""

    kind: Kind
    text: str
    value: str = ""
    number: int = 0


def plain(text: str) -> str:
    """Lower-case words, punctuation and possessives gone."""
    return " ".join(_JUNK.sub(" ", text.lower().replace("’", "'")).split())


def unquoted(text: str) -> tuple[str, tuple[str, ...]]:
    """The prompt without its quoted strings, and the strings in order."""
    found = tuple(m[1] if m[1] is not None else m[2] for m in _QUOTED.finditer(text))
    return _QUOTED.sub(" ", text), found


def tokens(text: str, vocabulary: Vocabulary, extra: Iterable[str] = ()) -> list[Token]:
    """``text`` without quotes, read with the vocabulary's phrases; ``extra`` are nouns beyond its classes.

    Other nouns that some target may hold ("a coffee cup") are found whole, so that none is taken for a
    shorter class, and are plain words.
    """
    nouns = {*vocabulary.classes, *extra}
    pattern, table = _lexicon(vocabulary.name, frozenset(nouns - _nouns(vocabulary.name)))
    marked: list[Token] = []

    def mark(match: re.Match[str]) -> str:
        token = table[match[0]]
        if token.kind == "noun" and token.value not in nouns:
            token = Token("word", token.text)
        marked.append(token)
        return f" <{len(marked) - 1}> "

    line = pattern.sub(mark, plain(text))
    return [marked[int(m[1])] if m[1] else Token("word", m[0]) for m in _ITEM.finditer(line)]


@cache
def _nouns(name: str) -> frozenset[str]:
    """Every noun that a target of this vocabulary may hold."""
    v = VOCABULARIES[name]
    things = [fact.thing.cls for fact in v.facts.values() if fact.thing]
    stated = [noun for states in v.states.values() for nouns in states.values() for noun in nouns]
    return frozenset((*v.classes, *v.carriers, *things, *stated))


@cache
def _lexicon(name: str, extra: frozenset[str]) -> tuple[re.Pattern[str], dict[str, Token]]:
    vocabulary = VOCABULARIES[name]
    table: dict[str, Token] = {}

    def add(kind: Kind, text: str, value: str, number: int = 0) -> None:
        table.setdefault(plain(text), Token(kind, plain(text), value, number))

    for hint, fact in vocabulary.facts.items():
        for text in _said(hint, fact.kind):
            add("fact", text, hint)
    for setting in vocabulary.settings:
        add("setting", setting, setting)
    for style in vocabulary.styles:
        add("style", style.removeprefix("a ").removeprefix("an "), style)
    things = [fact.thing.state for fact in vocabulary.facts.values() if fact.thing and fact.thing.state]
    for state in (*(s for states in vocabulary.states.values() for s in states), *things):
        add("state", state, state)
    for relation, wordings in RELATION_PHRASES.items():
        if relation in (*vocabulary.relations, *vocabulary.more_relations):
            for wording in wordings:
                add("relation", wording, relation)
    for cls in (*vocabulary.classes, *sorted((_nouns(name) | extra) - set(vocabulary.classes))):
        many = vocabulary.plural(cls)
        if cls in vocabulary.pairs:
            add("noun", f"pair of {cls}", cls, 1)
            add("noun", f"pairs of {cls}", cls, 2)
        add("noun", cls, cls, 0 if many == cls else 1)
        add("noun", many, cls, 2)
        add("noun", f"{cls}s", cls, 2)  # as benchmarks' templates write it: two benchs
    longest_first = sorted(table, key=lambda p: (-len(p), p))
    return re.compile(r"\b(?:" + "|".join(map(re.escape, longest_first)) + r")\b"), table


def _said(hint: str, kind: str) -> tuple[str, ...]:
    """The words by which a prompt uses a hint: "a carrot" alone is a carrot, not its colour."""
    return (f"in the colour of {hint}", f"in the color of {hint}") if kind == "color" else (hint,)
