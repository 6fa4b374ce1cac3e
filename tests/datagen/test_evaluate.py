"""Evaluating a model: rows that pair, pictures beside them, and what could not be judged."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from datagen.errors import InputError, ShardError
from datagen.evaluate import EvalWorker, evaluate, key_of
from datagen.loop import evaluate_to, evaluation_hook
from datagen.models.base import GenerationConfig
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


def test_an_evaluation_that_was_stopped_goes_on_where_it_was(tmp_path, monkeypatch):
    suite, out = scenes_suite(6), tmp_path / "r.jsonl"
    whole = evaluate("fake", suite, "judge", tmp_path / "whole" / "r.jsonl", 4)  # three batches
    drawn = []

    def draw(self, job):
        if len(drawn) == 2:
            raise KeyboardInterrupt
        drawn.append(job.number)
        return EvalWorker.__call__(self, job)

    class Stopped(EvalWorker):
        __call__ = draw

    monkeypatch.setattr("datagen.evaluate.EvalWorker", Stopped)
    with pytest.raises(KeyboardInterrupt):
        evaluate("fake", suite, "judge", out, 4)
    assert not out.exists()
    with (tmp_path / "r.jsonl.partial").open("a") as file:
        file.write('\n[2, [{"torn')
    drawn.pop()
    assert evaluate("fake", suite, "judge", out, 4) == whole
    assert drawn == [0, 2] and not (tmp_path / "r.jsonl.partial").exists()


def test_what_was_drawn_under_other_settings_is_drawn_again(tmp_path):
    suite, out = scenes_suite(1), tmp_path / "r.jsonl"
    for images in (1, 2):
        (tmp_path / "r.jsonl.partial").write_text("0" * 64 + "\n[0, []]\n")
        assert len(evaluate("fake", suite, "judge", out, images)) == 6 * images


def test_results_without_an_ending_have_no_place_for_their_pictures(tmp_path):
    with pytest.raises(InputError, match="give it an ending such as"):
        evaluate("fake", scenes_suite(1), "judge", tmp_path / "results", 1)


def test_results_stand_until_others_take_their_place(tmp_path):
    args = (tmp_path / "r.jsonl", "fake", "scenes", 1, 1, None, 0, lambda *a: None)
    before = evaluate_to(*args)
    with pytest.raises(InputError):
        evaluate_to(tmp_path / "r.jsonl", "nobody's", *args[2:], force=True)
    assert evaluate_to(*args) == before


def test_a_step_that_is_repeated_is_evaluated_again(tmp_path):
    from datagen.models.fake import FakeModel

    folder = tmp_path / "step-2"
    FakeModel().save(str(folder))
    save_file({"w": torch.zeros(9)}, folder / "model.safetensors")
    hook = evaluation_hook("scenes")
    first = hook(folder, 2)
    save_file({"w": torch.ones(9)}, folder / "model.safetensors")
    assert hook(folder, 2).keys() == first.keys()


def test_a_folders_results_are_its_own_however_it_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m" / "transformer").mkdir(parents=True)
    save_file({"w": torch.zeros(9)}, tmp_path / "m" / "transformer" / "model.safetensors")
    config = GenerationConfig()
    keys = {
        key_of(name, scenes_suite(1), "judge", 1, config, False) for name in ("m", "m/", str(tmp_path / "m"))
    }
    assert len(keys) == 1
    save_file({"w": torch.ones(9)}, tmp_path / "m" / "transformer" / "model.safetensors")
    assert key_of("m", scenes_suite(1), "judge", 1, config, False) not in keys


def test_a_full_disk_is_one_line_and_what_is_done_stays(tmp_path, monkeypatch):
    write = Path.write_bytes

    def full(self, data):
        if self.name == "00020_0.png":
            raise OSError(28, "No space left on device")
        return write(self, data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(ShardError, match=r"r: cannot be written: No space left on device; free space"):
            evaluate("fake", scenes_suite(6), "judge", tmp_path / "r.jsonl", 4)
    assert len((tmp_path / "r.jsonl.partial").read_text().split()) > 1
