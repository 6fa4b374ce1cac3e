"""Targets beyond shapes: their keys, their rows, and the questions they carry."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datagen.sample import MIRROR, Atom, Clause, Target
from rewards.atoms import atoms

MUG = Clause("mug", state="standing upside down")


@pytest.mark.parametrize(
    "target",
    [
        Target("orientation", (MUG,)),
        Target("style", (Clause("cat"),), style="pixel art", setting="in a small kitchen"),
        Target("negation", (Clause("bed"),), (Clause("cat", 1),)),
        Target("world_knowledge", (Clause("star", 2),), facts=("a bicycle has wheels",)),
    ],
)
def test_a_target_beyond_shapes_survives_its_row(target):
    assert Target.from_dict(target.to_dict()) == target


def test_a_row_written_before_targets_grew_still_reads():
    row = {
        "tag": "counting",
        "include": [{"class": "star", "count": 2}],
        "exclude": [{"class": "star", "count": 3}],
    }
    target = Target.from_dict(row)
    assert target == Target("counting", (Clause("star", 2),), (Clause("star", 3),))
    assert target.to_dict() == row


def test_the_key_of_a_drawn_scene_is_what_it_was():
    pair = (Clause("star", color="red"), Clause("heart", 2, size="small", position=("below", 0)))
    assert Target("position", pair, text=("CAT",)).key == (
        '[[["heart",2,"","small"],["star",1,"red",""]],'
        '[[["star",1,"red",""],"above",["heart",2,"","small"]]],["CAT"]]'
    )


def test_each_new_field_is_part_of_the_key_and_a_hint_is_not():
    plain = Target("t", (Clause("mug"),))
    others = [
        Target("t", (MUG,)),
        dataclasses.replace(plain, style="pixel art"),
        dataclasses.replace(plain, setting="at night"),
        dataclasses.replace(plain, exclude=(Clause("cat", 1),)),
    ]
    assert len({t.key for t in (plain, *others)}) == 5
    assert dataclasses.replace(plain, facts=("a hint",)).key == plain.key
    assert dataclasses.replace(plain, exclude=(Clause("mug", 2),)).key == plain.key


@given(st.sampled_from(sorted(MIRROR)))
def test_a_relation_and_its_mirror_are_one_key(relation):
    a, b = Clause("cup"), Clause("dog")
    said = Target("t", (a, dataclasses.replace(b, position=(relation, 0))))
    mirrored = Target("t", (b, dataclasses.replace(a, position=(MIRROR[relation], 0))))
    assert said.key == mirrored.key


def test_states_settings_and_styles_are_asked_and_a_state_needs_its_object():
    target = Target(
        "dense", (Clause("dog", color="brown"), dataclasses.replace(MUG, size="small")),
        setting="at night", style="pixel art",
    )  # fmt: skip
    assert target.atoms == (
        Atom("Is the mug standing upside down?", kind="state", needs=(2,)),
        Atom("Is the scene at night?", kind="setting"),
        Atom("Is the image in the style of pixel art?", kind="style"),
    )
    asked = atoms(target)
    state = next(a for a in asked if a.kind == "state")
    assert [asked[i].question for i in state.needs] == ["Is there a mug in the image?"]
    assert [a.answers for a in asked[-3:]] == [("yes",)] * 3


def test_what_must_be_absent_is_asked_for_a_no():
    asked = atoms(Target("negation", (Clause("bed"),), (Clause("cat", 1),)))
    assert [(a.question, a.answers) for a in asked] == [
        ("Is there a bed in the image?", ("yes",)),
        ("Is there a cat in the image?", ("no",)),
    ]
