"""Free text around the phrase may not change what is asked for."""

import pytest

from datagen.prompts import MAX_WORDS, check_prompt, parse_prompt, phrase
from datagen.sample import Clause, Target
from datagen.targets import VOCABULARIES

SCENES = VOCABULARIES["scenes"]
TARGET = Target("color_attr", (Clause("circle", color="red"), Clause("square", color="blue")))


@pytest.mark.parametrize(
    "text",
    [
        "a red circle on top of a blue square",
        "a red circle beside a blue square",
        "a red circle inside a blue square",
        "a red circle and a blue square in the bottom corner",
        "a red circle and a blue square in a star's light",
        "a red circle and a blue square in a star\u2019s light",
        "a red circle and a blue square-shaped box",
        "a red circle and a blue square and eleven birds",
        "a red circle and a blue square, never together",
        "a red circle and a blue square that is huge",
        "a red circle and a blue square " + "and so on " * MAX_WORDS,
    ],
)
def test_text_that_changes_what_is_asked_is_rejected(text):
    assert check_prompt(text, TARGET, SCENES)


def test_harmless_text_is_accepted():
    text = "A photo of a red circle and a blue square, drawn for a children's book."
    assert check_prompt(text, TARGET, SCENES) == ""


COCO = VOCABULARIES["coco"]
MUG = Target("orientation", (Clause("mug", color="red", state="standing upside down"),))
DENSE = Target(
    "dense", (Clause("truck", color="green"), Clause("dog", 2, position=("left of", 0)), Clause("bench", state="wooden"))
)  # fmt: skip
NEGATION = Target("negation", (Clause("bed"),), (Clause("cat", 1),))
STYLE = Target("style", (Clause("cat"),), style="pixel art")
RIDDLE = Target("world_knowledge", (Clause("dog", 4, "black"),), facts=("a car has wheels", "coal"))
LETTERING = Target("text_rendering", (Clause("poster"),), text=("Open Daily",))


@pytest.mark.parametrize(
    ("text", "target", "cause"),
    [
        ("A red mug standing upside down on a shelf.", MUG, ""),
        ("A red mug on a shelf.", MUG, "asks for something else"),
        ("A red mug on a shelf, and a chair standing upside down.", MUG, "asks for something else"),
        ("A red mug, tall, standing upside down.", MUG, "stray state 'standing upside down'"),
        ("A green truck, two dogs to the left of the truck and a wooden bench.", DENSE, ""),
        ("A wooden bench and a green truck, two dogs to the left of the truck.", DENSE, ""),
        ("A green truck, two dogs to the left of the bench and a wooden bench.", DENSE, "no number for an object"),
        ("A green truck, two dogs to the right of the truck and a wooden bench.", DENSE, "asks for something else"),
        ("A green truck, two dogs left of the red truck and a wooden bench.", DENSE, "an object is described twice"),
        ("A bed but no cat.", NEGATION, ""),
        ("A bed without any cats in the morning.", NEGATION, ""),
        ("A bed without a cat.", NEGATION, ""),
        ("A bed and a cat.", NEGATION, "asks for something else"),
        ("A bed without a dog.", NEGATION, "asks for something else"),
        ("A bed without a black cat.", NEGATION, "an absent object is described"),
        ("A bed but no cat and no dog.", NEGATION, "asks for something else"),
        ("A bed, not a cat.", NEGATION, "stray word 'not'"),
        ("Pixel art of a cat.", STYLE, ""),
        ("A cat in the style of pixel art.", STYLE, ""),
        ("A cat in the style of a linocut.", STYLE, "asks for something else"),
        ("A cat in the style of pixel art or a linocut.", STYLE, "two styles"),
        ("A realistic photo of a cat in the style of pixel art.", STYLE, "another style or place 'photo'"),
        ("As many dogs as a car has wheels, in the color of coal.", RIDDLE, ""),
        ("Four black dogs.", RIDDLE, "hints are missing or added"),
        ("As many black dogs as a car has wheels.", RIDDLE, "hints are missing or added"),
        ("As many dogs as a car has wheels and as many cats as a car has wheels.", RIDDLE, "hints are missing or added"),
        ('A poster that says "Open Daily".', LETTERING, ""),
        ("A poster that says “Open Daily”.", LETTERING, ""),
        ('A poster that says "Open daily".', LETTERING, "asks for something else"),
        ("A poster that says Open Daily.", LETTERING, "asks for something else"),
        ('A poster that says "Open Daily" and "Closed".', LETTERING, "asks for something else"),
        ('A banner that says "Open Daily".', LETTERING, "asks for something else"),
    ],
)  # fmt: skip
def test_a_prompt_beyond_shapes_is_accepted_only_if_it_asks_for_exactly_that(text, target, cause):
    assert check_prompt(text, target, COCO) == cause


@pytest.mark.parametrize(
    ("text", "clauses"),
    [
        ("a photo of two benchs", (Clause("bench", 2),)),
        ("a photo of four persons", (Clause("person", 4),)),
        ("a photo of a scissors", (Clause("scissors"),)),
        ("a photo of an orange orange", (Clause("orange", color="orange"),)),
        ("an orange and an orange cat", (Clause("orange"), Clause("cat", color="orange"))),
        ("a photo of a hot dog", (Clause("hot dog"),)),
        ("a photo of a tv remote below a wine glass", (Clause("wine glass"), Clause("tv remote", position=("below", 0)))),
        ("a coffee cup and a dog", (Clause("dog"),)),
        ("a dog in front of a cat", (Clause("cat"), Clause("dog", position=("in front of", 0)))),
    ],
)  # fmt: skip
def test_the_benchmarks_own_wording_is_read(text, clauses):
    assert parse_prompt(text, COCO) == (clauses, "")


def test_a_relation_of_depth_is_a_stray_word_where_shapes_lie_flat():
    assert parse_prompt("a star behind a heart", SCENES) == (None, "stray word 'behind'")


def test_a_long_description_may_be_as_long_as_its_target_needs():
    target = Target("dense", tuple(Clause(c, color="red", size="small") for c in list(COCO.classes)[:9]))
    text = phrase(target, COCO)
    assert len(text.split()) > MAX_WORDS
    assert check_prompt(f"A picture of {text}", target, COCO) == ""
    assert check_prompt(f"{'so ' * 20}{text}", target, COCO) == "too long"
