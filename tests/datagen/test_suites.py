"""The four suites on scenes: held-out targets, their own wording, fractions where their benchmarks give them."""

import json
from functools import partial

import pytest

from datagen import suites
from datagen.decontaminate import normalise
from datagen.errors import InputError, ResultsError
from datagen.evals import read_results
from datagen.loop import JUDGES, evaluate_to
from datagen.suites import GRADED, OPENINGS, SUITES, load_suite
from datagen.targets import is_held_out
from rewards import load_reward

PARTS = ("dense", "knowledge", "text")


@pytest.mark.parametrize("name", PARTS)
def test_sixty_distinct_held_out_prompts_in_the_suites_own_wording(name):
    suite = load_suite(name)
    assert len({normalise(s.prompt) for s in suite}) == 60
    assert all(is_held_out(s.target) for s in suite)
    assert all(normalise(s.prompt).startswith(tuple(map(normalise, OPENINGS))) for s in suite)
    assert load_suite(name) == suite


def test_each_part_asks_for_what_its_benchmark_does():
    assert {len(s.target.include) for s in load_suite("dense")} <= {3, 4, 5, 6}
    assert any(c.position for s in load_suite("dense") for c in s.target.include)
    assert all(s.target.facts for s in load_suite("knowledge"))
    assert all(3 <= len(s.target.text[0]) <= 5 and s.target.text[0] in s.prompt for s in load_suite("text"))


def test_every_suite_is_judged_by_a_judge_that_no_recipe_weighs_by():
    assert set(JUDGES) == set(SUITES)
    assert all(load_reward(JUDGES[name]).heldout for name in ("scenes", *PARTS))


def test_a_suite_that_cannot_be_filled_says_so(monkeypatch):
    monkeypatch.setattr(suites, "_prompts", partial(suites._prompts, draws=1))
    with pytest.raises(InputError, match="suite text: only"):
        load_suite("text", per_category=5000)


def run(tmp_path, suite):
    rows = evaluate_to(tmp_path / "r.jsonl", "fake", suite, 4, 2, None, 0, lambda *a: None)
    return rows, [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("suite", ["dense", "knowledge"])
def test_only_graded_suites_have_fractions_and_they_are_read_back(tmp_path, suite):
    rows, written = run(tmp_path, suite)
    assert len(rows) == 8
    assert all(("score" in row) == (suite in GRADED) for row in written)
    expected = [row.get("score", row["correct"]) for row in written]
    assert [r.score for r in rows] == [None if e is None else float(e) for e in expected]


@pytest.mark.parametrize("score", [1.5, -0.1, True, "1", None, float("nan"), 1.0])
def test_a_fraction_that_contradicts_its_row_is_refused(tmp_path, score):
    row = {"filename": "00000/samples/0000.png", "tag": "dense", "prompt": "a dog", "correct": False}
    path = tmp_path / "r.jsonl"
    path.write_text(json.dumps(row | {"score": score}) + "\n")
    with pytest.raises(ResultsError, match=r"r\.jsonl:1"):
        read_results(path, "geneval")
