"""The study's page and its files agree, and its statistics know a difference from none."""

from pathlib import Path

import pytest

from benchmarks import study_report
from benchmarks.arms import AXES, BOTH, PARTS, SETTINGS, Data, all_arms
from benchmarks.study import Study
from datagen.recipe import list_recipes

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


def row(value, seed=0):
    return {"parts": {part: {"one": [value] * 10 + [0.5] * 10} for part in PARTS}, "seed": seed}


def test_a_difference_that_is_there_is_found_and_none_is_not():
    up = study_report.change([row(0.2)], [row(0.6), row(0.7)], list(PARTS))
    assert up.mean == pytest.approx(0.225) and up.low > 0 and up.p < 0.01
    same = study_report.change([row(0.2)], [row(0.2)], list(PARTS))
    assert (same.mean, same.low, same.high, same.p) == (0, 0, 0, 1)
