"""Samplers: what they draw, what they take, what they refuse."""

import hashlib
import json
import random

import pytest

from datagen.errors import InputError
from datagen.sample import Clause, Target
from datagen.scenes.captions import WORDS
from datagen.suites import scenes_suite
from datagen.targets import SAMPLERS, VOCABULARIES, sample_targets, sampler
from datagen.targets.lettering import PATTERNS

SCENES, COCO = VOCABULARIES["scenes"], VOCABULARIES["coco"]


def draw(name, vocabulary=COCO, n=300, **params):
    return sample_targets(name, vocabulary, n, 0, params)


def test_the_split_of_drawn_scenes_is_what_it_was_before_targets_grew():
    rows = [[s.prompt, s.target.key, s.group_id] for s in scenes_suite()]
    assert hashlib.sha256(json.dumps(rows).encode()).hexdigest().startswith("43d688ee293b9607")


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_sampler_repeats_itself(name):
    assert draw(name, n=20) == draw(name, n=20)


@pytest.mark.parametrize("name", ["orientation", "structure", "style"])
def test_what_shapes_cannot_show_is_refused_naming_who_can(name):
    with pytest.raises(InputError, match=r"vocabulary 'scenes' has no .*; vocabularies that have: coco"):
        draw(name, SCENES)


@pytest.mark.parametrize(
    ("name", "params", "says"),
    [
        ("colors", {"min": 1}, "unknown parameter 'min'; valid: none"),
        ("single_object", {"sized": 2}, r"params\.sized: .*less than or equal to 1"),
        ("position", {"relations": ["beside"]}, r"unknown 'beside' .*valid: left of.*behind"),
        ("position", {"relations": []}, "give at least one"),
        ("text_rendering", {"words": [11]}, "strings of 1, 2, 3.* words, not 11"),
        ("text_rendering", {"spans": 4}, r"spans: 4 must lie within 1\.\.3"),
        ("world_knowledge", {"riddles": ["rhyme"]}, r"riddles\.0: .*'number'"),
        ("dense", {"min": 5, "max": 4}, r"within 2\.\.10"),
        ("broad", {"mix": {"two_objects": 1}}, "unknown sampler 'two_objects'; valid: single_object"),
        ("broad", {"mix": {"colors": 0}}, "one must be above 0"),
        ("counting", {"colored": float("nan")}, r"params\.colored"),
    ],
)
def test_wrong_parameters_are_one_line_with_the_choices(name, params, says):
    with pytest.raises(InputError, match=says) as caught:
        draw(name, **params)
    assert "\n" not in str(caught.value)


def test_counts_of_photographs_reach_ten_and_leave_out_what_is_not_counted():
    targets = draw("counting", min=2, max=10, n=1500)
    assert {t.include[0].count for t in targets} == set(range(2, 11))
    assert not {t.include[0].cls for t in targets} & COCO.uncounted


def test_no_person_is_coloured_and_no_orange_is_orange():
    for name in ("colors", "color_attr", "position", "counting", "dense", "style", "negation"):
        for target in draw(name):
            assert not [c for c in target.include if c.color and (c.cls == "person" or c.cls == c.color)]


def test_strings_have_the_lengths_that_were_asked_for():
    for words in PATTERNS:
        assert {len(t.text[0].split()) for t in draw("text_rendering", words=[words], n=50)} == {words}
    assert {len(t.text[0]) for t in draw("text_rendering", letters=[5, 7])} == {5, 7}
    drawn = draw("text_rendering", SCENES, letters=[4])
    assert {t.text[0] for t in drawn} <= {w for w in WORDS if len(w) == 4}
    assert not any(t.include for t in drawn)


def test_spans_stand_on_different_things():
    for target in draw("text_rendering", spans=2, n=50):
        assert len(target.text) == len({c.cls for c in target.include}) == 2


def test_a_riddle_holds_what_its_hints_stand_for():
    for vocabulary in (SCENES, COCO):
        for target in draw("world_knowledge", vocabulary):
            for hint in target.facts:
                fact, clause = vocabulary.facts[hint], target.include[0]
                assert fact.kind != "number" or (clause.count, target.exclude[0].count) == (
                    fact.number,
                    fact.number + 1,
                )
                assert fact.kind != "color" or clause.color == fact.color
                assert fact.kind != "thing" or clause == fact.thing


def test_every_state_is_drawn_of_a_noun_it_makes_sense_for():
    for kind in ("orientation", "structure"):
        targets = draw(kind, n=1500)
        assert all(t.include[0].cls in COCO.states[kind][t.include[0].state] for t in targets)
        assert {t.include[0].state for t in targets} == set(COCO.states[kind])


def test_dense_scenes_fit_the_grid_and_dense_photographs_have_many_atoms():
    assert all(SCENES.possible(t) for t in draw("dense", SCENES, n=100, min=4, max=6))
    atoms = [
        sum(1 + bool(c.color) + bool(c.size) + bool(c.state) + bool(c.position) for c in t.include)
        + bool(t.setting) + bool(t.style)
        for t in draw("dense")
    ]  # fmt: skip
    assert min(atoms) >= 3
    assert sum(atoms) / len(atoms) > 8


def test_an_absent_class_is_not_the_present_one():
    for vocabulary in (SCENES, COCO):
        for t in draw("negation", vocabulary):
            assert t.exclude == (Clause(t.exclude[0].cls, 1),)
            assert t.exclude[0].cls != t.include[0].cls


def test_the_aligned_baseline_has_the_benchmarks_skills_and_asks_for_nothing_else():
    targets = draw("benchmark_aligned", n=2000)
    share = {tag: sum(t.tag == tag for t in targets) / 2000 for tag in {t.tag for t in targets}}
    assert share["position"] == pytest.approx(100 / 553, abs=0.05)
    assert {c.count for t in targets if t.tag == "counting" for c in t.include} == {2, 3, 4}
    assert not any(c.size or c.state for t in targets for c in t.include)


def test_a_mixture_draws_from_what_it_names():
    assert {t.tag for t in draw("broad", mix={"style": 1, "colors": 1})} == {"style", "colors"}


def unicorns(vocabulary, rng, *, horns: int = 1):
    return Target("unicorns", (Clause("unicorn", horns),))


def test_a_sampler_of_ones_own_declares_its_parameters(monkeypatch):
    import sys
    import types

    module = types.ModuleType("mine")
    module.unicorns = unicorns
    monkeypatch.setitem(sys.modules, "mine", module)
    assert sampler("mine:unicorns", {"horns": 3})(COCO, random.Random(0)).include[0].count == 3
    with pytest.raises(InputError, match="unknown parameter 'wings'; valid: horns"):
        sampler("mine:unicorns", {"wings": 2})
