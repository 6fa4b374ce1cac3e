"""Evaluating a model: rows that pair, pictures beside them, and what could not be judged."""

import json

from datagen.evaluate import evaluate
from datagen.loop import evaluate_to
from datagen.sample import Sample, Target
from datagen.suites import scenes_suite


def test_rows_are_genevals_and_pictures_lie_beside_them(tmp_path):
    suite = scenes_suite(2)
    rows = evaluate("fake", suite, "judge", tmp_path / "before.jsonl", 3)
    assert len(rows) == 36
    assert {r.category for r in rows} == {s.target.tag for s in suite}
    line = json.loads((tmp_path / "before.jsonl").read_text().splitlines()[0])
    assert isinstance(line["metadata"], str)
    assert (tmp_path / line["image"]).is_file()


def test_the_same_model_twice_gives_the_same_rows(tmp_path):
    first, second = (evaluate("fake", scenes_suite(2), "judge", tmp_path / f"{n}.jsonl", 2) for n in "ab")
    assert [(r.prompt_id, r.image, r.score) for r in first] == [
        (r.prompt_id, r.image, r.score) for r in second
    ]


def test_what_the_judge_cannot_judge_is_null_never_false(tmp_path):
    lettering = Sample("a star", Target("text", text=("CAT",)))
    (row,) = evaluate("fake", [lettering], "judge", tmp_path / "x.jsonl", 1)
    assert row.score is None
    assert json.loads((tmp_path / "x.jsonl").read_text())["correct"] is None


def test_a_result_that_stands_is_read_not_made_again(tmp_path):
    said = []
    args = (tmp_path / "r.jsonl", "fake", "scenes", 1, 1, None, 0, lambda *a: said.append(a))
    assert evaluate_to(*args) == evaluate_to(*args)
    assert len(said) == 1
