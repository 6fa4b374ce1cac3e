"""A turn of the loop after another: its budget by what that one moved, its model from it, the data of both."""

import json

import pytest

from datagen import loop
from datagen.dataset import load_weighted
from datagen.errors import InputError
from datagen.evals import EvalRow
from datagen.loop import LoopConfig, run_loop, suite_for
from datagen.manifest import read_manifest
from datagen.turns import data_of, model_of, moved_in, seed_after, yields_of

SMALL = {"llm": "template", "per_category": 4, "images": 1, "prompts": 16, "candidates": 4, "epochs": 1.0}


def results(share):
    """Thirty prompts on counting, four images each."""
    return [
        EvalRow(f"{p:05d}", f"prompt {p}", "counting", float((p + 3 * i) % 10 < 10 * share), i)
        for p in range(30)
        for i in range(4)
    ]


def test_yields_come_from_the_last_build(tmp_path):
    assert yields_of(tmp_path) == {}
    row = {"counting": {"pass_rate": 0.25, "candidates": 80}, "colors": {"pass_rate": None, "candidates": 8}}
    (tmp_path / "build.json").write_text(json.dumps({"recipes": row}))
    assert {k: (y.rate, y.candidates) for k, y in yields_of(tmp_path).items()} == {"counting": (0.25, 80)}
    (tmp_path / "build.json").write_text("{}")
    with pytest.raises(InputError, match=r"build\.json"):
        yields_of(tmp_path)


def test_what_a_build_moved_needs_its_record_and_its_categories(tmp_path):
    before, after = results(0.2), results(0.9)
    with pytest.raises(InputError, match=r"build\.json"):
        moved_in(tmp_path, before, after)
    (tmp_path / "build.json").write_text(json.dumps({"recipes": {"counting": {"prompts": 20}}}))
    assert moved_in(tmp_path, before, after)["counting"] == pytest.approx(0.7 / 20, rel=0.05)
    (tmp_path / "build.json").write_text(json.dumps({"recipes": {"dense": {"prompts": 20}}}))
    with pytest.raises(InputError, match="was built for dense"):
        moved_in(tmp_path, before, after)


@pytest.fixture(scope="module")
def turns(tmp_path_factory):
    folder = tmp_path_factory.mktemp("turns")
    first, second = folder / "first", folder / "second"
    run_loop(LoopConfig(first, "pocket", **SMALL))
    run_loop(LoopConfig(second, after=first, **SMALL))
    return first, second


def prompts(folder):
    return set(load_weighted(folder)["prompt"])


def test_a_turn_after_another_starts_from_its_model_and_where_it_ended(turns):
    first, second = turns
    assert read_manifest(second).settings["model"] == str(first / "model")
    assert json.loads((second / "model" / "training.json").read_text())["model"] == str(first / "model")
    scores = [
        [json.loads(line)["correct"] for line in path.read_text().splitlines()]
        for path in (first / "eval" / "after.jsonl", second / "eval" / "before.jsonl")
    ]
    assert scores[0] == scores[1]


def test_a_turn_after_another_trains_on_the_data_of_both(turns):
    first, second = turns
    assert (data_of(first), data_of(second)) == (first / "dataset", second / "merged")
    old, new, both = (prompts(run) for run in (first / "dataset", second / "dataset", second / "merged"))
    assert both <= old | new
    assert len(both & old - new) > len(old) / 2 and len(both & new - old) > len(new) / 2
    assert json.loads((second / "model" / "training.json").read_text())["data"] == str(second / "merged")


def test_a_turn_after_one_that_has_not_ended_is_refused_before_anything_is_made(tmp_path):
    with pytest.raises(InputError, match=r"no turn has ended there"):
        run_loop(LoopConfig(tmp_path / "second", after=tmp_path / "first", **SMALL))
    assert not (tmp_path / "second").exists()
    with pytest.raises(InputError, match=r"training\.json"):
        model_of(tmp_path)


def test_each_turn_has_prompts_of_its_own(tmp_path):
    for name, after in (("second", tmp_path / "first"), ("third", tmp_path / "second")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "loop.json").write_text(json.dumps({"after": str(after)}))
    assert [seed_after(tmp_path / n, 7) for n in ("first", "second", "third")] == [1007, 2007, 3007]


def test_a_judge_that_weighs_is_no_reason_to_lose_the_loop(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(loop.JUDGES, "scenes", "scenes")
    done = run_loop(LoopConfig(tmp_path, "fake", **SMALL))
    assert done.report.exists() and not (tmp_path / "alarms.json").exists()
    assert "no alarms: scenes weighs in" in capsys.readouterr().err


def test_a_model_is_evaluated_on_what_it_draws():
    assert [suite_for(m) for m in ("pocket", "pocket?steps=4", "bagel", "OWNER/NAME")] == [
        "scenes", "scenes", "geneval_style", "geneval_style",
    ]  # fmt: skip


def test_a_loop_begun_before_an_option_was_there_goes_on(tmp_path):
    config = LoopConfig(tmp_path, **SMALL)
    loop._same_settings(tmp_path, config)
    row = json.loads((tmp_path / "loop.json").read_text())
    del row["batch_size"], row["accumulate"]
    (tmp_path / "loop.json").write_text(json.dumps(row))
    loop._same_settings(tmp_path, config)
    (tmp_path / "loop.json").write_text(json.dumps(row))
    with pytest.raises(InputError, match="batch_size: 16 -> 4"):
        loop._same_settings(tmp_path, LoopConfig(tmp_path, batch_size=4, **SMALL))
