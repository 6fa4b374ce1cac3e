"""The record at a card's end: the command as far as it says what, and reading it back."""

import inspect
from dataclasses import replace

import pytest

from datagen.account import Account
from datagen.commands import data
from datagen.provenance import PLACES, SWITCHES, command, new_record, read_record, record_text
from tests.datagen.test_card import PROMPTS, SAMPLE, WEAK

WHAT = (
    "--recipe", "--from-weaknesses", "--prompts", "--candidates", "--model", "--llm", "--batch", "--seed",
    "--preview", "--against",
)  # fmt: skip


@pytest.mark.parametrize("program", ["/usr/bin/datagen", "datagen", "/lib/datagen/__main__.py"])
def test_a_command_is_the_same_however_and_wherever_it_ran(program):
    where = (
        "--run here --workers=4 --reward-workers 2 --reward-gpus 0.5 --model-gpus 1 --llm-workers 1 --llm-gpus 1 "
        "--timeout 30 --ray-address auto --force --json --debug"
    )
    typed = [program, "build", "--recipe", "a recipe.yaml", *where.split(), "--seed", "3"]
    assert command(typed) == "datagen build --recipe 'a recipe.yaml' --seed 3"


def test_what_is_no_command_is_not_taken_for_one():
    assert command(["/usr/bin/my-datagen-job.py", "--run", "x"]) == "datagen.pipeline.build, from Python"


def test_every_option_of_a_build_says_either_what_or_where():
    parameters = inspect.signature(data.build, eval_str=True).parameters
    flags = {"as_json": "--json"} | {
        name: f"--{name.replace('_', '-')}" for name in parameters if name != "as_json"
    }
    assert set(flags.values()) <= {*PLACES, *SWITCHES, *WHAT}


def test_a_record_is_read_back_as_it_was(tmp_path):
    record = new_record(Account.of([SAMPLE]), {"seed": 7, "note": "```\n## Record"}, [WEAK], PROMPTS)
    (tmp_path / "README.md").write_text(f"# A card\n\n{record_text(record)}", encoding="utf-8")
    assert read_record(tmp_path) == record
    (tmp_path / "README.md").write_text("# Another card")
    assert read_record(tmp_path) == {}


def test_only_the_weaknesses_that_the_recipes_target_are_recorded():
    def weak(category, recipe):
        return replace(WEAK, category=category, label=category, recipe=recipe, budget=0.5)

    found = [weak("counting", "counting"), weak("position", "position"), weak("mine", None)]
    settings = {"recipes": {"position": {"weakness": "position"}, "own": {"weakness": "mine"}}}
    record = new_record(Account.of([SAMPLE]), settings, found, PROMPTS)
    assert [w["weakness"] for w in record["weaknesses"]] == ["position", "mine"]
