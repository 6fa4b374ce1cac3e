"""Free text around the phrase may not change what is asked for."""

import pytest

from datagen.prompts import MAX_WORDS, check_prompt
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
