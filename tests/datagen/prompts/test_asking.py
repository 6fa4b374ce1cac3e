"""Riddles in free words: the LLM must resolve them to the target, and they may not tell the answer."""

import pytest

from datagen.llm.base import Reply
from datagen.llm.template import TemplateLLM
from datagen.prompts import noun_phrase, write_prompts
from datagen.prompts.asking import answers_to, ask_back, gives_away
from datagen.sample import Clause, Target
from datagen.targets import VOCABULARIES

COCO = VOCABULARIES["coco"]
HINT = "the land animal with the longest neck"
GIRAFFE = Target("world_knowledge", (Clause("giraffe"),), facts=(HINT,))
DOGS = Target("world_knowledge", (Clause("dog", 4, "black"),), facts=("a car has wheels", "coal"))
NAIL = Target(
    "world_knowledge", (Clause("nail", state="covered in rust"),), facts=("an iron nail after years in the rain",)
)  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "target", "right"),
    [
        ("A giraffe.", GIRAFFE, True),
        ("giraffe", GIRAFFE, True),
        ("the giraffe", GIRAFFE, True),
        ("a camel", GIRAFFE, False),
        ("two giraffes", GIRAFFE, False),
        ("a black giraffe", GIRAFFE, False),
        ("four black dogs", DOGS, True),
        ("four dogs", DOGS, False),
        ("black dogs", DOGS, False),
        ("a nail covered in rust", NAIL, True),
        ("a nail", NAIL, False),
        ("", GIRAFFE, False),
    ],
)
def test_an_answer_counts_only_if_it_is_the_whole_target(answer, target, right):
    assert answers_to(answer, target, COCO) is right


@pytest.mark.parametrize(
    ("text", "target", "told"),
    [
        ("The tallest grazer of the savanna, a giraffe", GIRAFFE, True),
        ("Giraffes are the tallest grazers", GIRAFFE, True),
        ("The tallest grazer of the savanna", GIRAFFE, False),
        ("Dogs as dark as coal, as many as wheels: four", DOGS, True),
        ("Dogs as dark as coal, one for each wheel of a car", DOGS, False),
        ("A black pack of dogs, one for each wheel", DOGS, True),
        ("An iron nail that spent years in the rain", NAIL, False),
        ("An iron nail, covered in rust after the rain", NAIL, True),
    ],
)
def test_a_riddle_that_tells_its_answer_is_none(text, target, told):
    assert gives_away(text, target, COCO) is told


class Knowing(TemplateLLM):
    """Rewords a hint, and knows animals."""

    name = "knowing"

    def __init__(self, answer):
        self.answer, self.asked = answer, []

    def ask(self, questions):
        self.asked += questions
        return [self.answer] * len(questions)


def test_a_reworded_riddle_passes_when_the_llm_resolves_it():
    texts = ["The tallest grazer of the savanna", "A giraffe in the savanna", "A cup", ""]
    targets = [GIRAFFE, GIRAFFE, Target("colors", (Clause("dog"),)), GIRAFFE]
    causes = ["no object", "asks for something else", "asks for something else", "empty"]
    llm = Knowing("a giraffe")
    assert ask_back(llm, texts, targets, causes, COCO) == 1
    assert causes == ["", "gives the answer away", "asks for something else", "empty"]
    (question,) = llm.asked
    assert texts[0] in question and "giraffe" not in question


def test_a_riddle_that_the_llm_reads_otherwise_is_refused():
    causes = ["no object"]
    assert ask_back(Knowing("a camel"), ["The tall grazer"], [GIRAFFE], causes, COCO) == 0
    assert causes == ["the LLM reads it otherwise"]


def test_a_writer_that_answers_no_questions_is_held_to_the_hint():
    causes = ["no object"]
    assert ask_back(TemplateLLM(), ["The tall grazer"], [GIRAFFE], causes, COCO) == 0
    assert causes == ["no object"]


def test_a_setting_must_stay_in_a_reworded_riddle():
    causes = ["no object"]
    target = Target("k", GIRAFFE.include, setting="in a small kitchen", facts=GIRAFFE.facts)
    assert ask_back(Knowing("a giraffe"), ["The tall grazer outdoors"], [target], causes, COCO) == 0
    assert ask_back(Knowing("a giraffe"), ["The tall grazer in a small kitchen"], [target], causes, COCO) == 1


class Rewording(Knowing):
    """Writes nothing of the hint, and remembers what it meant."""

    def write(self, requests):
        self.meant = {
            f"Somebody thinks of it once more, page {chr(97 + r.seed % 26)}{r.phrase[4:6]}": r
            for r in requests
        }
        return [Reply(text) for text in self.meant]

    def ask(self, questions):
        hints = [next(r.phrase for text, r in self.meant.items() if text in q) for q in questions]
        return [noun_phrase(COCO.facts[hint].thing, COCO) for hint in hints]


def test_only_a_recipe_that_says_ask_is_asked_back(small):
    recipe = small("world_knowledge").for_vocabulary("coco")
    params = {"riddles": ["thing"], "setting": 0}
    recipe = recipe.model_copy(update={"targets": recipe.targets.model_copy(update={"params": params})})
    result = write_prompts(recipe, COCO, Rewording(""), 4, 0, batch=1)
    assert result.asked_back == len(result.samples) == 4
    assert all(s.target.facts and s.prompt.startswith("Somebody thinks") for s in result.samples)
    silent = recipe.model_copy(update={"prompts": recipe.prompts.model_copy(update={"check": "parse"})})
    assert write_prompts(silent, COCO, Rewording(""), 4, 0, batch=1).samples == ()
