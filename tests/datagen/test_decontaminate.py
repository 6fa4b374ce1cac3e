"""Nothing that evaluates may be built: words, targets, openings, neighbours, and files of prompts."""

import json

import pytest

from datagen.decontaminate import (
    NEAR,
    SAME_OPENING,
    SAME_TARGET,
    SAME_WORDS,
    Evaluation,
    common_openings,
    decontaminate,
    read_prompts,
)
from datagen.errors import InputError
from datagen.sample import Clause, Sample, Target
from datagen.targets import VOCABULARIES

COCO = VOCABULARIES["coco"]
RED = Target("colors", (Clause("bench", color="red"),))
BLUE = Target("colors", (Clause("bench", color="blue"),))


def test_the_same_words_the_same_target_and_the_same_opening_go():
    evaluation = Evaluation.of([Sample("A photo of a red bench.", RED)], ["a sketch of"])
    samples = [
        Sample("a photo of the red bench", BLUE),
        Sample("paint a red bench", RED),
        Sample("A sketch of a blue bench", BLUE),
        Sample("A sketchy blue bench", BLUE),
    ]
    kept, dropped = decontaminate(samples, evaluation)
    assert [s.prompt for s in kept] == ["A sketchy blue bench"]
    assert [(d.reason, d.like) for d in dropped] == [
        (SAME_WORDS, "A photo of a red bench."),
        (SAME_TARGET, "A photo of a red bench."),
        (SAME_OPENING, "sketch of"),
    ]


def test_a_neighbour_over_the_threshold_goes_with_its_similarity():
    near = lambda prompts: [("an evaluation prompt", 0.9 if "near" in p else 0.5) for p in prompts]  # noqa: E731
    kept, (dropped,) = decontaminate([Sample("near", RED), Sample("far", BLUE)], Evaluation(), near, 0.8)
    assert [s.prompt for s in kept] == ["far"]
    assert (dropped.reason, dropped.like, dropped.similarity) == (NEAR, "an evaluation prompt", 0.9)


def test_targets_are_read_out_of_the_benchmarks_own_prompts():
    words = [
        "a photo of a bench",
        "a photo of two clocks",
        "a photo of a cup left of a dog",
        "an idea of peace",
    ]
    evaluation = Evaluation().with_prompts(words, COCO)
    asked = Target("position", (Clause("cup"), Clause("dog", position=("right of", 0))))
    assert evaluation.overlap(Sample("There is a dog to the right of a cup.", asked)) == (
        SAME_TARGET,
        words[2],
    )
    assert evaluation.overlap(Sample("Idea of a peace", RED)) == (SAME_WORDS, "an idea of peace")
    assert len(evaluation.keys) == 3


def test_an_opening_is_what_a_fifth_of_the_prompts_begin_with():
    prompts = [f"a photo of {i} things" for i in range(8)] + [f"word{i} on its own" for i in range(20)]
    assert common_openings(prompts) == ["photo of"]
    assert common_openings(prompts[:3]) == []
    assert common_openings([f"word{i} alone" for i in range(50)]) == []


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("p.txt", "one bench\n\ntwo cups\none bench\n"),
        ("p.jsonl", '{"prompt": "one bench", "id": 1}\n"two cups"\n'),
        ("p.json", json.dumps([{"Prompt": "one bench"}, {"Prompt": " two cups "}])),
    ],
)
def test_prompts_are_read_from_lines_and_json(tmp_path, name, content):
    path = tmp_path / name
    path.write_text(content)
    assert read_prompts(path) == ["one bench", "two cups"]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("p.txt", b"", r"p\.txt: holds no prompt"),
        ("p.txt", b"\xff\xfe", r"p\.txt: cannot be read"),
        (
            "p.jsonl",
            b'{"prompt": "a"}\n{"id": 3}\n',
            r"p\.jsonl:2: no prompt; .*prompt, Prompt, text, caption",
        ),
        ("p.jsonl", b"{", r"p\.jsonl:1: not JSON"),
        ("p.json", b'{"prompt": "a"}', r"p\.json: a JSON file of prompts is a list"),
        ("p.json", b'[{"prompt": 3}]', r"p\.json: item 0: no prompt"),
    ],
)
def test_a_file_that_holds_no_prompts_is_named_with_its_line(tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=says):
        read_prompts(tmp_path / name)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.txt"):
        read_prompts(tmp_path / "none.txt")
