"""Every target can be said, and what is said is read back exactly."""

import re

import pytest

from datagen.errors import InputError
from datagen.prompts import check_prompt, phrase
from datagen.sample import Clause, Target
from datagen.targets import SAMPLERS, VOCABULARIES, sample_targets

SCENES, COCO = VOCABULARIES["scenes"], VOCABULARIES["coco"]


@pytest.mark.parametrize("vocabulary", VOCABULARIES.values(), ids=lambda v: v.name)
@pytest.mark.parametrize("name", SAMPLERS)
def test_every_target_survives_the_way_through_words(name, vocabulary):
    try:
        targets = sample_targets(name, vocabulary, 150, 0, {})
    except InputError as error:
        assert "vocabularies that have: coco" in str(error)
        return
    for i, target in enumerate(targets):
        text = f"A picture of {phrase(target, vocabulary, i)}."
        assert check_prompt(text, target, vocabulary) == "", text


def test_two_strings_survive_too():
    for i, target in enumerate(
        sample_targets("text_rendering", COCO, 100, 0, {"words": [1, 5, 12], "spans": 2})
    ):
        assert check_prompt(phrase(target, COCO, i), target, COCO) == ""


@pytest.mark.parametrize(
    ("clause", "words"),
    [
        (Clause("scissors", color="green"), "a green pair of scissors"),
        (Clause("skis", 2), "two pairs of skis"),
        (Clause("sheep", 3, "black"), "three black sheep"),
        (Clause("knife", color="red", state="bent"), "a bent red knife"),
        (Clause("mug", state="standing upside down"), "a mug standing upside down"),
        (Clause("orange", state="half peeled"), "a half peeled orange"),
        (Clause("umbrella", size="large"), "a large umbrella"),
        (Clause("bench", 10), "ten benches"),
    ],
)
def test_a_clause_is_said_as_people_say_it(clause, words):
    assert phrase(Target("t", (clause,)), COCO) == words


def test_a_riddle_is_said_by_its_hints_alone():
    target = Target("k", (Clause("dog", 4, "black"),), facts=("a car has wheels", "coal"))
    assert phrase(target, COCO) == "as many dogs as a car has wheels, in the colour of coal"
    apple = "the fruit in New York's nickname"
    assert phrase(Target("k", (Clause("apple"),), setting="in a small kitchen", facts=(apple,)), COCO) == (
        f"{apple} in a small kitchen"
    )


def test_no_hint_names_what_it_stands_for():
    for hint, fact in COCO.facts.items():
        if fact.kind == "thing" and not (fact.thing.color or fact.thing.state):
            assert not re.search(rf"\b{fact.thing.cls}s?\b", hint), hint
