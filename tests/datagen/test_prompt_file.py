"""Prompts on disk: what was written is read, in part and in order, and a failure leaves what stood."""

import pytest

from datagen.errors import ShardError
from datagen.prompt_file import PromptFile, write_prompt_file
from datagen.sample import Clause, Sample, Target

TARGET = Target("counting", (Clause("circle", 2, position=None), Clause("square", color="red")), text=("AB",))
ONE = [
    Sample(f"prompt {i} – café", TARGET, group_id=f"g{i}", recipe="one", weakness="w", llm="l")
    for i in range(9)
]
TWO = [Sample("another", TARGET, group_id="h", recipe="two")]


def test_parts_are_read_in_order_and_reports_are_kept(tmp_path):
    path = tmp_path / "prompts.jsonl"
    write_prompt_file(path, [("one", ONE, {"kept": 9}), ("none", [], {"kept": 0}), ("two", TWO, {"kept": 1})])
    found = PromptFile(path)
    assert [found.count(r) for r in ("one", "none", "two")] == [9, 0, 1]
    assert found.read("one", 0, 4) + found.read("one", 4, 99) == ONE
    assert found.read("two", 0, 8) == TWO
    assert found.read("none", 0, 8) == []
    assert found.reports == {"one": {"kept": 9}, "none": {"kept": 0}, "two": {"kept": 1}}


def test_the_same_prompts_have_the_same_checksum(tmp_path):
    sums = {write_prompt_file(tmp_path / f"{i}", [("one", ONE, {})]) for i in range(2)}
    assert len(sums) == 1
    assert write_prompt_file(tmp_path / "c", [("one", ONE[:8], {})]) not in sums


@pytest.mark.parametrize(
    ("raised", "told"),
    [(OSError(28, "No space left"), ShardError), (ConnectionError("down"), ConnectionError)],
)
def test_a_failure_in_the_middle_leaves_the_file_that_stood(tmp_path, raised, told):
    path = tmp_path / "prompts.jsonl"
    write_prompt_file(path, [("two", TWO, {})])

    def failing():
        yield "one", ONE, {}
        raise raised

    with pytest.raises(told):
        write_prompt_file(path, failing())
    assert PromptFile(path).read("two", 0, 1) == TWO
    assert [p.name for p in tmp_path.iterdir()] == ["prompts.jsonl"]
