"""Target to words: the phrase that an LLM must carry, and that the parser reads back exactly."""

from datagen.sample import Clause, Target
from datagen.targets import Vocabulary

NUMBER_WORDS = {
    "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10,
}  # fmt: skip
RELATION_PHRASES = {
    "left of": ("to the left of", "on the left of", "left of"),
    "right of": ("to the right of", "on the right of", "right of"),
    "above": ("above",),
    "below": ("below",),
    "behind": ("behind",),
    "in front of": ("in front of",),
}
ABSENT = ("but no {one}", "without {a}", "without any {many}", "and no {many}")
SAYS = ("that says", "with the words", "reading")
UNCARRIED = ("the word", "a sign that says")  # lettering where no noun carries it
BEFORE_NOUN = "half"  # states of several words that stand before the noun begin with it
ADDED = "and"


def article(noun: str) -> str:
    """``an`` by sound where spelling misleads (a unicorn, an hourglass)."""
    if noun.startswith(("uni", "use", "one", "eu")):
        return "a"
    return "an" if noun[0].lower() in "aeiou" or noun.startswith("hour") else "a"


def leads(state: str) -> bool:
    """Whether a state stands before its noun: "a bent knife", "a mug standing upside down"."""
    return " " not in state or state.startswith(f"{BEFORE_NOUN} ")


def noun_phrase(clause: Clause, vocabulary: Vocabulary) -> str:
    """``a small red circle``, ``three hearts``, ``a bent blue spoon``, ``a green pair of scissors``."""
    noun = named(clause.cls, clause.count, vocabulary)
    state = clause.state or ""
    before, after = (state, "") if state and leads(state) else ("", state)
    words = " ".join(x for x in (clause.size, before, clause.color, noun, after) if x)
    if clause.count == 1:
        return f"{article(words)} {words}"
    number = next((w for w, n in NUMBER_WORDS.items() if n == clause.count), str(clause.count))
    return f"{number} {words}"


def named(cls: str, count: int, vocabulary: Vocabulary) -> str:
    """``dog``, ``dogs``; ``pair of scissors``, ``pairs of scissors``."""
    if cls in vocabulary.pairs:
        return f"pair{'' if count == 1 else 's'} of {cls}"
    return cls if count == 1 else vocabulary.plural(cls)


def phrase(target: Target, vocabulary: Vocabulary, variant: int = 0) -> str:
    """The words that carry the target; ``variant`` picks among wordings of the same thing."""
    if target.facts:
        words = _riddle(target, vocabulary)
    elif target.text:
        words = _lettering(target, vocabulary, variant)
    else:
        words = _objects(target, vocabulary, variant)
    for gone in (c for c in target.exclude if c.count == 1):
        one, many = (named(gone.cls, n, vocabulary) for n in (1, 2))
        words += " " + ABSENT[variant % len(ABSENT)].format(one=one, a=f"{article(one)} {one}", many=many)
    if target.setting:
        words += f" {target.setting}"
    return f"{words}, in the style of {target.style}" if target.style else words


def _objects(target: Target, vocabulary: Vocabulary, variant: int) -> str:
    parts = [noun_phrase(c, vocabulary) for c in target.include]
    related = [(i, c.position) for i, c in enumerate(target.include) if c.position]
    if len(parts) == 2 and related:
        i, (relation, other) = related[0][0], related[0][1] or ("", 0)
        return f"{parts[i]} {_relation(relation, variant)} {parts[other]}"
    for i, position in related:
        relation, other = position or ("", 0)
        noun = named(target.include[other].cls, target.include[other].count, vocabulary)
        parts[i] += f" {_relation(relation, variant)} the {noun}"
    return _listed(parts)


def _relation(relation: str, variant: int) -> str:
    wordings = RELATION_PHRASES[relation]
    return wordings[variant % len(wordings)]


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} {ADDED} {parts[-1]}"


def _lettering(target: Target, vocabulary: Vocabulary, variant: int) -> str:
    if not target.include:
        return f'{UNCARRIED[variant % len(UNCARRIED)]} "{target.text[0]}"'
    says = SAYS[variant % len(SAYS)]
    pairs = zip(target.include, target.text, strict=True)
    return _listed([f'{noun_phrase(c, vocabulary)} {says} "{words}"' for c, words in pairs])


def _riddle(target: Target, vocabulary: Vocabulary) -> str:
    """The hints instead of what they stand for, as pretraining captions word them."""
    clause, words = target.include[0], ""
    number, color = "", ""
    for hint in target.facts:
        kind = vocabulary.facts[hint].kind
        if kind == "thing":
            return hint
        number, color = (hint, color) if kind == "number" else (number, hint)
    colored = target.include[-1].cls
    one = f"{article(colored)} {colored} in the colour of {color}"
    if not number:
        return one
    words = f"as many {vocabulary.plural(clause.cls)} as {number}"
    if len(target.include) == 2:
        return f"{words} {ADDED} {one}"
    return f"{words}, in the colour of {color}" if color else words
