"""Prompts on disk: what was written is read, in part and in order, and a failure leaves what stood."""

import hashlib

import pytest

from datagen.errors import ShardError
from datagen.prompt_file import PromptFile, prompt_writer
from datagen.sample import Clause, Sample, Target

TARGET = Target("counting", (Clause("circle", 2, position=None), Clause("square", color="red")), text=("AB",))
ONE = [
    Sample(f"prompt {i} – café", TARGET, group_id=f"g{i}", recipe="one", weakness="w", llm="l")
    for i in range(9)
]
TWO = [Sample("another", TARGET, group_id="h", recipe="two")]


def write(path, *samples, **reports):
    with prompt_writer(path) as file:
        for sample in samples:
            file.add(sample)
        file.reports |= reports
    return file.sha256


def test_parts_are_read_in_order_and_reports_are_kept(tmp_path):
    path = tmp_path / "prompts.jsonl"
    reports = {"one": {"kept": 9}, "none": {"kept": 0}, "two": {"kept": 1}}
    write(path, *ONE, *TWO, **reports)
    found = PromptFile(path)
    assert [found.count(r) for r in ("one", "none", "two")] == [9, 0, 1]
    assert found.read("one", 0, 4) + found.read("one", 4, 99) == ONE
    assert found.read("two", 0, 8) == TWO
    assert found.read("none", 0, 8) == []
    assert found.reports == reports


def test_the_checksum_is_the_files(tmp_path):
    path = tmp_path / "prompts.jsonl"
    assert write(path, *ONE, one={}) == hashlib.sha256(path.read_bytes()).hexdigest()
    assert write(path, *ONE[:8], one={}) != write(path, *ONE, one={})


@pytest.mark.parametrize(
    ("raised", "told"),
    [(OSError(28, "No space left"), ShardError), (ConnectionError("down"), ConnectionError)],
)
def test_a_failure_in_the_middle_leaves_the_file_that_stood(tmp_path, raised, told):
    path = tmp_path / "prompts.jsonl"
    write(path, *TWO)
    with pytest.raises(told), prompt_writer(path) as file:
        file.add(ONE[0])
        raise raised
    assert PromptFile(path).read("two", 0, 1) == TWO
    assert [p.name for p in tmp_path.iterdir()] == ["prompts.jsonl"]
