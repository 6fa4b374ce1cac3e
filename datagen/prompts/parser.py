"""Words to target: what a prompt asks for, read strictly, so that only an exact match is accepted.

The parser knows the vocabulary's words; any of them outside the phrase it expects (a second colour, a
stray number, a negation of something else) rejects the prompt. Settings and styles are free where the
target has none: they change no atom of it.
"""

from dataclasses import dataclass, field, replace

from datagen.prompts.lexicon import Token, tokens, unquoted
from datagen.prompts.wording import NUMBER_WORDS, leads, phrase
from datagen.sample import MIRROR, Clause, Target
from datagen.targets import Vocabulary

MAX_WORDS = 25
AROUND = 15  # words around a phrase that is long itself
# Words that change what is asked for: place, negation, number, size, shape.
_STRAY = {
    "left", "right", "above", "below", "under", "beneath", "over", "underneath", "top", "middle", "bottom",
    "center", "centre", "corner", "side", "beside", "behind", "inside", "outside", "between", "around",
    "near", "next", "front", "no", "not", "without", "except", "none", "never", "neither", "nor", "zero",
    "another", "both", "several", "many", "few", "pair", "pairs", "dozen", "dozens", "multiple", "other",
    "others", "each", "every", "more", "extra", "eleven", "twelve", "twenty", "hundred", "single", "double",
    "triple", "twice", "half", "big", "tiny", "huge", "giant", "little", "shaped", "one",
}  # fmt: skip
# Words of another style or place, where the target has one of its own.
_OTHER_STYLE = {
    "photo", "photograph", "photographic", "drawing", "drawn", "illustration", "graphic", "icon", "painted",
    "painting", "flat", "sketch", "cartoon", "realistic", "render", "poster", "card", "canvas",
}  # fmt: skip
_OTHER_PLACE = {
    "background", "backdrop", "paper", "wall", "page", "blank", "plain", "indoors", "outdoors", "studio",
}  # fmt: skip


class Rejected(Exception):
    """Why a prompt cannot be read; the message is the cause, counted in reports."""


@dataclass
class _Reading:
    """What was found so far: ``items`` are mentions of clauses and relations, in order."""

    words: list[Token]
    include: list[Clause] = field(default_factory=list)
    absent: list[Clause] = field(default_factory=list)
    items: list[tuple[str, int | str, bool]] = field(default_factory=list)  # (kind, which, is new)
    used: set[int] = field(default_factory=set)
    facts: list[str] = field(default_factory=list)

    def at(self, i: int) -> str:
        return self.words[i].text if 0 <= i < len(self.words) else ""


def read_prompt(
    text: str, vocabulary: Vocabulary, tag: str = "", nouns: tuple[str, ...] = (), most: int = MAX_WORDS
) -> Target:
    """What a prompt asks for, as a target. ``nouns``: those known beyond the vocabulary's classes.

    Raises ``Rejected`` with the cause.
    """
    text, strings = unquoted(text)
    if len(text.split()) > most:
        raise Rejected("too long")
    found = tokens(text, vocabulary, nouns)
    reading = _Reading(_settle_orange(found, vocabulary))
    whole = {
        kind: list(dict.fromkeys(t.value for t in found if t.kind == kind)) for kind in ("setting", "style")
    }
    for i, token in enumerate(reading.words):
        if token.kind == "noun":
            _mention(reading, i, vocabulary)
        elif token.kind == "relation":
            reading.items.append(("relation", token.value, True))
        elif token.kind == "fact":
            _fact(reading, i, vocabulary)
    _refuse_strays(reading, vocabulary)
    if not reading.include and not strings:
        raise Rejected("no object")
    include = _relate(reading)
    for kind, some in whole.items():
        if len(some) > 1:
            raise Rejected(f"two {kind}s")
    setting, style = ("".join(whole[kind][:1]) for kind in ("setting", "style"))
    return Target(tag, include, tuple(reading.absent), strings, style, setting, tuple(reading.facts))


def parse_prompt(text: str, vocabulary: Vocabulary) -> tuple[tuple[Clause, ...] | None, str]:
    """The clauses a prompt asks for, or None and the cause."""
    try:
        return read_prompt(text, vocabulary).include, ""
    except Rejected as cause:
        return None, str(cause)


def check_prompt(text: str, target: Target, vocabulary: Vocabulary) -> str:
    """Empty if the prompt asks for exactly the target, else the cause.

    A riddle must also keep its hints: the same picture asked for outright is another prompt.
    """
    words = phrase(target, vocabulary)
    most = max(MAX_WORDS, len(words.split()) + AROUND)
    nouns = tuple(c.cls for c in (*target.include, *target.exclude))
    try:
        found = read_prompt(text, vocabulary, target.tag, nouns, most)
    except Rejected as cause:
        return str(cause)
    free = replace(found, setting=target.setting and found.setting, style=target.style and found.style)
    if sorted(found.facts) != sorted(target.facts):
        return "hints are missing or added"
    if free.key != target.key:
        return "asks for something else"
    others = (_OTHER_STYLE if target.style else set()) | (_OTHER_PLACE if target.setting else set())
    if others:
        own = set(words.lower().replace(",", "").split())
        plain = {t.text for t in tokens(unquoted(text)[0], vocabulary, nouns) if t.kind == "word"}
        if clash := sorted((plain & others) - own):
            return f"another style or place {clash[0]!r}"
    return ""


def _settle_orange(found: list[Token], vocabulary: Vocabulary) -> list[Token]:
    """``orange`` before a noun, or before what leads to one, is a colour; elsewhere it is the fruit."""
    out = list(found)
    for i, token in enumerate(found):
        if token.kind == "noun" and token.text in vocabulary.colors and i + 1 < len(found):
            after = found[i + 1]
            if (
                after.kind == "noun"
                or after.text in vocabulary.sizes
                or (after.kind == "state" and leads(after.value))
            ):
                out[i] = Token("word", token.text)
    return out


def _mention(r: _Reading, i: int, vocabulary: Vocabulary) -> None:
    """The noun at ``i`` with what stands before and after it: a new clause, an absence, or one named again."""
    token, cls = r.words[i], r.words[i].value
    j, color, size, state = i - 1, None, None, None
    while j >= 0:
        word = r.words[j]
        if (
            color is None
            and word.text in (*vocabulary.colors, *vocabulary.more_colors)
            and word.kind == "word"
        ):
            color = word.text
        elif size is None and word.text in vocabulary.sizes:
            size = word.text
        elif state is None and word.kind == "state":
            state = word.value
        else:
            break
        j -= 1
    end = i
    if state is None and i + 1 < len(r.words) and r.words[i + 1].kind == "state":
        state, end = r.words[i + 1].value, i + 1
    before = r.at(j)
    described = Clause(cls, 1, color, size, None, state)
    if before == "no" or (before == "any" and r.at(j - 1) == "without") or before == "without":
        return _absent(r, described, range(j - (before == "any"), end + 1))
    if before in ("a", "an", "one") and r.at(j - 1) == "without" and token.number != 2:
        return _absent(r, described, range(j - 1, end + 1))
    count = 1 if before in ("a", "an", "one") else NUMBER_WORDS.get(before, 0)
    if not count and before.isdigit():
        count = int(before)
    if before == "many" and r.at(j - 1) == "as":
        number = next((k for k in (end + 2, end + 1) if k < len(r.words) and r.words[k].kind == "fact"), None)
        fact = vocabulary.facts[r.words[number].value] if number is not None else None
        if fact is None or fact.kind != "number":
            raise Rejected("no number for an object")
        count, j = fact.number, j - 1
    if not count and before == "the":
        return _again(r, described, range(j, end + 1))
    if not count or (token.number and (count == 1) != (token.number == 1)):
        raise Rejected("no number for an object")
    r.used.update(range(j, end + 1))
    r.items.append(("object", len(r.include), True))
    r.include.append(replace(described, count=count))


def _absent(r: _Reading, clause: Clause, span: range) -> None:
    if clause != Clause(clause.cls):
        raise Rejected("an absent object is described")
    r.used.update(span)
    r.absent.append(clause)


def _again(r: _Reading, said: Clause, span: range) -> None:
    """``the bench`` names the bench of before; what is said of it must be what was said."""
    known = [i for i, c in enumerate(r.include) if c.cls == said.cls]
    if len(known) != 1:
        raise Rejected("no number for an object")
    one = r.include[known[0]]
    if any(getattr(said, f) not in (None, getattr(one, f)) for f in ("color", "size", "state")):
        raise Rejected("an object is described twice")
    r.used.update(span)
    r.items.append(("object", known[0], False))


def _fact(r: _Reading, i: int, vocabulary: Vocabulary) -> None:
    hint = r.words[i].value
    fact = vocabulary.facts[hint]
    r.facts.append(hint)
    if fact.kind == "thing" and fact.thing is not None:
        r.items.append(("object", len(r.include), True))
        r.include.append(fact.thing)
    elif fact.kind == "color":
        if not r.include or r.include[-1].color:
            raise Rejected("a hint out of place")
        r.include[-1] = replace(r.include[-1], color=fact.color)


def _refuse_strays(r: _Reading, vocabulary: Vocabulary) -> None:
    known = {*vocabulary.colors, *vocabulary.more_colors, *vocabulary.sizes, *NUMBER_WORDS}
    for i, token in enumerate(r.words):
        if i in r.used:
            continue
        if token.kind == "word" and (token.text in known or token.text in _STRAY or token.text.isdigit()):
            raise Rejected(f"stray word {token.text!r}")
        if token.kind == "state" and " " in token.value:
            raise Rejected(f"stray state {token.value!r}")


def _relate(r: _Reading) -> tuple[Clause, ...]:
    """Relations onto the later of their clauses; two objects said once each are ordered by theirs."""
    relations = [i for i, item in enumerate(r.items) if item[0] == "relation"]
    if not relations:
        return tuple(r.include)
    include = list(r.include)
    for i in relations:
        if i in (0, len(r.items) - 1) or "relation" in (r.items[i - 1][0], r.items[i + 1][0]):
            raise Rejected("a relation needs two objects")
        (_, subject, _), (_, other, is_new) = r.items[i - 1], r.items[i + 1]
        relation = str(r.items[i][1])
        assert isinstance(subject, int) and isinstance(other, int)
        if is_new:
            if len(r.items) != 3:
                raise Rejected("a relation needs two objects" if len(relations) == 1 else "two relations")
            return include[other], replace(include[subject], position=(relation, 0))
        if subject == other:
            raise Rejected("a relation needs two objects")
        if subject < other:
            subject, other, relation = other, subject, MIRROR[relation]
        if include[subject].position:
            raise Rejected("two relations")
        include[subject] = replace(include[subject], position=(relation, other))
    return tuple(include)
