"""The study's page and its files agree, and its statistics know a difference from none."""

from pathlib import Path

import pytest

from benchmarks import study, study_report, study_results
from benchmarks.arms import AXES, BOTH, PARTS, SETTINGS, Arm, Data, all_arms
from benchmarks.study import Study
from datagen.recipe import list_recipes, load_recipe

ROOT = Path(__file__).parents[2]


def test_docs_study_is_what_the_result_files_say():
    page = (ROOT / "docs" / "study.md").read_text(encoding="utf-8")
    assert page.startswith(study_report.report(ROOT / "benchmarks" / "results" / "study"))


def test_every_arm_has_a_file_of_its_own():
    files = [arm.file for arm in all_arms([])]
    assert len(files) == len(set(files)) and BOTH.file in files
    assert set(AXES) >= {
        "strategy",
        "modality",
        "trace",
        "guidance",
        "weights",
        "candidates",
        "rounds",
        "scaling",
    }


@pytest.mark.parametrize(
    "data", [Data("aligned"), Data("broad"), Data("broad", k=32), Data("aligned", scale=4)]
)
def test_strategies_have_the_same_number_of_candidates(tmp_path, data):
    setting = SETTINGS["full"]
    recipes = Study(tmp_path, tmp_path, setting).recipes(data, {})
    assert {r.name for r in recipes} <= set(list_recipes())
    made = sum(r.prompts.count * r.candidates.k for r in recipes)
    assert made == pytest.approx(setting.prompts * setting.k * data.scale, rel=0.05)


def test_the_first_round_is_the_same_whatever_the_second_does():
    assert Data(round=2, moved=True).earlier == Data() == Data(round=2).earlier
    assert Data(round=3, moved=True).earlier == Data(round=2, moved=True)


@pytest.mark.parametrize("keep", [True, False])
def test_a_round_that_keeps_its_data_trains_on_the_candidates_of_both(tmp_path, monkeypatch, keep):
    studied, weighed = Study(tmp_path, tmp_path, SETTINGS["small"]), []
    builds = {n: ([(tmp_path / f"build{n}", [load_recipe("counting")])], f"model{n - 1}") for n in (1, 2)}
    monkeypatch.setattr(Study, "built", lambda self, data, seed: builds[data.round])
    monkeypatch.setattr(study, "reweighed", lambda run, recipe, arm: weighed.append(run.name) or [])
    monkeypatch.setattr(study, "save_dataset", lambda samples, data, card: None)
    monkeypatch.setattr(study, "train", lambda config, update: weighed.append(config.model))
    arm = Arm("rounds", "two", Data(round=2), keep=keep)
    model, _, made = studied.trained(arm, 0)
    assert weighed == [*(["build1"] if keep else []), "build2", "model1"]
    assert made["prompts"]["counting"] == (2 if keep else 1) * load_recipe("counting").prompts.count
    assert model.name == ("rounds-two" if keep else "plain")


def row(value, seed=0):
    return {"parts": {part: {"one": [value] * 10 + [0.5] * 10} for part in PARTS}, "seed": seed}


def test_a_difference_that_is_there_is_found_and_none_is_not():
    up = study_results.change([row(0.2)], [row(0.6), row(0.7)], list(PARTS))
    assert up.mean == pytest.approx(0.225) and up.low > 0 and up.p < 0.01
    same = study_results.change([row(0.2)], [row(0.2)], list(PARTS))
    assert (same.mean, same.low, same.high, same.p) == (0, 0, 0, 1)
