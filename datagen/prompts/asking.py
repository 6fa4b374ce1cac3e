"""Riddles in free words: no parser knows them, so the LLM is asked what picture they want.

The question does not name the answer: the LLM says what must be in the picture, its answer is parsed,
and only one that gives exactly the target passes. A prompt that says what it should let the trace work
out is no riddle and is refused before. Needs a backend that answers questions; one that does not (the
template writer) is held to the exact hint.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from datagen.llm.base import LLM
from datagen.prompts.lexicon import plain
from datagen.prompts.parser import Rejected, read_prompt
from datagen.prompts.wording import NUMBER_WORDS
from datagen.sample import Target
from datagen.targets import Vocabulary

QUESTION = (
    "Somebody asks an artist for this picture: {prompt}\n"
    "Work out what it must show. Answer with nothing but the object, with its number, and with its colour or "
    "condition only where the request implies them, as in: {examples}."
)


@runtime_checkable
class Answers(Protocol):
    """A prompt writer that also answers questions in free text; an empty string where it refused."""

    def ask(self, questions: Sequence[str]) -> list[str]: ...


def ask_back(
    llm: LLM, texts: Sequence[str], targets: Sequence[Target], causes: list[str], vocabulary: Vocabulary
) -> int:
    """Clear the cause of every riddle that the LLM resolves to its target; returns how many.

    Only prompts that a parser refused, and that do not give the answer away, are asked about.
    """
    rows = [
        i
        for i, (text, target, cause) in enumerate(zip(texts, targets, causes, strict=True))
        if cause and text and target.facts and plain(target.setting) in plain(text)
    ]
    for i in rows:
        if gives_away(texts[i], targets[i], vocabulary):
            causes[i] = "gives the answer away"
    rows = [i for i in rows if causes[i] != "gives the answer away"]
    if not rows or not isinstance(llm, Answers):
        return 0
    passed = 0
    answers = llm.ask([QUESTION.format(prompt=texts[i], examples=_examples(targets[i])) for i in rows])
    for i, answer in zip(rows, answers, strict=True):
        if answers_to(answer, targets[i], vocabulary):
            causes[i] = ""
            passed += 1
        else:
            causes[i] = "the LLM reads it otherwise"
    return passed


def gives_away(text: str, target: Target, vocabulary: Vocabulary) -> bool:
    """Whether a prompt names what its hints stand for: the thing, its colour or state, or the number.

    What a hint says itself is no answer: an umbrella that a gale caught is an umbrella.
    """
    words = f" {plain(text)} "
    clause, kinds = target.include[0], {vocabulary.facts[h].kind for h in target.facts}
    hidden = [part for c in target.include for part in (c.color, c.state)]
    if "thing" in kinds:
        hidden += [clause.cls, vocabulary.plural(clause.cls)]
    if "number" in kinds:
        hidden += [str(clause.count), *(w for w, n in NUMBER_WORDS.items() if n == clause.count)]
    said = f" {plain(' '.join(target.facts))} "
    return any(f" {plain(w)} " in words and f" {plain(w)} " not in said for w in hidden if w)


def answers_to(answer: str, target: Target, vocabulary: Vocabulary) -> bool:
    """Whether an answer, parsed, is the target's objects with all that is asked of them."""
    wanted = Target("", target.include).key
    clause, nouns = target.include[0], tuple(c.cls for c in target.include)
    said = answer.strip().lower().strip(".!\"'")
    tries = [said] if clause.count > 1 or said.startswith(("a ", "an ", "the ")) else [said, f"a {said}"]
    for words in tries:
        try:
            found = read_prompt(words.replace("the ", "a ", 1), vocabulary, "", nouns)
        except Rejected:
            continue
        if Target("", found.include).key == wanted:
            return True
    return False


def _examples(target: Target) -> str:
    """Forms of an answer; none of them can be the right one."""
    forms = ["three yellow umbrellas", "a folded map", "a horse"]
    return "; ".join(f for f in forms if target.include[0].cls not in f)
