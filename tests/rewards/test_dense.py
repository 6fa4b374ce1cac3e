"""Dense scenes by atoms: right pictures are right, and what hangs on a missing object is lost with it."""

import random

import pytest

from datagen.candidates import png
from datagen.sample import Clause, Sample, Target
from datagen.scenes.draw import draw_layout
from datagen.scenes.layout import Placed, Seen, layout_for
from datagen.suites import load_suite
from rewards.atoms import atoms
from rewards.dense import DenseJudge, DenseVerifier, holding, score_atoms

TARGET = Target(
    "dense", (Clause("star", 1, "red"), Clause("heart", 1, "blue", None, ("above", 0)), Clause("cross"))
)
STAR, HEART, CROSS = (
    Seen("star", "red", "large", 1, 2),
    Seen("heart", "blue", "large", 1, 0),
    Seen("cross", "pink", "large", 2, 2),
)


def drawn(layout, target):
    from PIL import Image

    return Sample("p", target, image=png(Image.fromarray(draw_layout(layout, random.Random(3)))))


@pytest.mark.parametrize("reward", [DenseVerifier(), DenseJudge()], ids=lambda r: r.name)
def test_pictures_drawn_from_the_suites_targets_are_right_in_99_of_100(reward):
    rng = random.Random(5)
    samples = [drawn(layout_for(s.target, rng), s.target) for s in load_suite("dense", 100)]
    assert sum(score.value == 1.0 for score in reward.score(samples)) >= 99


def test_every_atom_is_answered_for_every_target_of_the_suite():
    assert all(len(holding([], s.target)) == len(atoms(s.target)) for s in load_suite("dense"))


def test_a_missing_object_takes_its_colour_and_its_relations_with_it():
    assert score_atoms("x", [STAR, HEART, CROSS], TARGET).value == 1.0
    assert score_atoms("x", [HEART, CROSS], TARGET).value == 3 / 6  # star, red, above are lost
    assert score_atoms("x", [STAR._replace(color="pink"), HEART, CROSS], TARGET).value == 4 / 6


def test_without_a_picture_the_score_is_zero_and_without_a_question_there_is_none():
    assert [r.score([Sample("p", TARGET)])[0].value for r in (DenseVerifier(), DenseJudge())] == [0.0, 0.0]
    assert score_atoms("x", [], Target("text", (), text=("CAT",))).value is None
    layout = [Placed("star", "red", 0, "large")]
    assert DenseJudge().score([drawn(layout, Target("x", ()))])[0].value is None
