"""The record, the registry, the statistics' doors, publishing: small facts."""

import pytest

from datagen.errors import InputError, UnknownName, WorkError
from datagen.hub import publish
from datagen.models import load_model
from datagen.registry import resolve
from datagen.sample import Clause, Target, content_id, content_seed
from datagen.workers import run_jobs


def test_ids_and_seeds_are_the_same_on_every_machine():
    assert content_id("counting", "two circles") == "5187c534bb040018"
    assert content_seed("a", 1) == content_seed("a", 1) != content_seed("a", 2)
    assert 0 <= content_seed("x") < 2**63
    assert content_id("a", "b") != content_id("ab")


def test_a_target_survives_its_json():
    target = Target(
        "position",
        (Clause("star"), Clause("heart", 2, "red", "small", ("above", 0))),
        (Clause("star", 3),),
        ("CAT",),
    )
    assert Target.from_dict(target.to_dict()) == target


def test_the_key_ignores_order_tag_and_exclusions():
    a, b = Clause("star", color="red"), Clause("heart")
    assert Target("two_object", (a, b)).key == Target("color_attr", (b, a), (Clause("star", 2),)).key
    assert Target("t", (a,)).key != Target("t", (Clause("star", color="blue"),)).key


def test_a_name_or_an_import_path_resolves_and_others_list_the_choices():
    assert resolve("thing", "x", {"x": "os:getcwd"}).__name__ == "getcwd"
    assert resolve("thing", "os:getcwd", {}).__name__ == "getcwd"
    with pytest.raises(UnknownName, match="valid: x"):
        resolve("thing", "y", {"x": "os:getcwd"})
    with pytest.raises(InputError, match="cannot be imported"):
        resolve("thing", "nowhere:Thing", {})


def test_an_unknown_model_lists_the_valid_ones():
    with pytest.raises(UnknownName, match="bagel, diffusers, emu3, fake, janus, pocket, vllm-omni"):
        load_model("sdxl")


def test_a_folder_of_an_unknown_kind_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "unet"}')
    with pytest.raises(UnknownName, match="bagel, emu3, fake, janus"):
        load_model(str(tmp_path))


class Deadly:
    def __call__(self, job):
        import os

        if job == "kill":
            os._exit(1)
        return job * 2


def test_a_job_that_kills_its_workers_three_times_ends_the_work():
    with pytest.raises(WorkError, match="killed its worker 3 times"):
        list(run_jobs(Deadly, ["a", "kill", "b"], 1))


def test_publishing_needs_a_name_and_a_dataset(tmp_path):
    with pytest.raises(InputError, match="USER/NAME"):
        publish(tmp_path, "nobody")
    with pytest.raises(InputError, match="no dataset here"):
        publish(tmp_path, "me/data")
