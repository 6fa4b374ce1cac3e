"""GenEval's rows and printed summary: read right, or refused with file and line."""

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen.errors import DatagenError, ResultsError, UnknownName
from datagen.evals import READERS, merge, read_results


def row(prompt: int, image: int, correct: bool | None = True, tag: str = "counting", **extra) -> str:
    metadata = {"tag": tag, "include": [{"class": "bench", "count": 2}], "prompt": "two benches"}
    return json.dumps(
        {
            "filename": f"runs/x/{prompt:05d}/samples/{image:04d}.png",
            "tag": tag,
            "prompt": f"two benches {prompt}",
            "correct": correct,
            "reason": "" if correct else "expected bench>=2, found 1",
            "metadata": json.dumps(metadata),
            "details": json.dumps({"bench": [[1, 2, 3, 4]]}),
            **extra,
        }
    ).replace("/", "\\/")  # pandas' to_json escapes slashes


SUMMARY = """
Task breakdown
counting        = 76.56% (245 / 320)
colors = 90.43% (340 / 376)
Overall score (avg. over tasks): 0.83500
"""


def test_rows_are_read_in_any_order_with_prompt_and_image_numbers(tmp_path):
    path = tmp_path / "results.jsonl"
    path.write_text("\n".join([row(12, 3, False), row(2, 0, seed=7), row(2, 1, None)]) + "\n")
    rows = read_results(path)
    assert [(r.prompt_id, r.image, r.score) for r in rows] == [
        ("00012", 3, 0.0),
        ("00002", 0, 1.0),
        ("00002", 1, None),
    ]
    assert rows[0].reason == "expected bench>=2, found 1"
    assert rows[0].metadata["include"][0]["class"] == "bench"
    assert rows[1].extra == {"seed": 7}


@pytest.mark.parametrize("around", ["runs/20000/", "runs\\20000\\", "00007/x/"])
def test_the_innermost_folder_of_five_digits_is_the_prompt(tmp_path, around):
    path = tmp_path / "results.jsonl"
    lines = [
        row(n, 0, True, tag, filename=f"{around}{n:05d}/samples/0003.png") for n, tag in ((1, "a"), (2, "b"))
    ]
    path.write_text("\n".join(lines) + "\n")
    assert [(r.prompt_id, r.image) for r in read_results(path)] == [("00001", 3), ("00002", 3)]


def test_the_printed_summary_is_read_as_totals(tmp_path):
    path = tmp_path / "summary.txt"
    path.write_text(SUMMARY)
    assert [(r.category, r.summary) for r in read_results(path)] == [("counting", 320), ("colors", 376)]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "empty"),
        (b"  \n\n", "empty"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\xff\xfe", "binary"),
        (b"hello\x00world", "binary"),
        (b"hello world\n", "no reader"),
        (b'{"a": 1}\n', "no reader"),
        (row(1, 0).encode()[:80], "half-written"),
        ((row(1, 0) + "\n" + row(1, 1)[:50]).encode(), ":2: not JSON"),
        ((row(1, 0) + "\n[1]\n").encode(), ":2: not an object"),
        ((row(1, 0) + "\n" + row(1, 0) + "\n").encode(), ":2: same image as line 1"),
        ((row(1, 0) + "\n" + row(1, 1).replace("true", "NaN") + "\n").encode(), ":2: not JSON"),
        ((row(1, 0) + "\n" + row(1, 1).replace("true", "1") + "\n").encode(), ":2: correct must be"),
        ((row(1, 0) + '\n{"filename": "x"}\n').encode(), ":2: field 'tag' is missing"),
        (row(1, 0).replace("00001", "one").encode(), "no 5-digit prompt folder"),
        (b"counting = 76.56% (999 / 320)\n", "is not 999 / 320"),
        (b"counting = 50.00% (1 / 2)\ncounting = 50.00% (1 / 2)\n", "appears twice"),
    ],
)
def test_a_bad_file_is_refused_in_one_line_that_names_it(tmp_path, content, what):
    path = tmp_path / "bad.jsonl"
    path.write_bytes(content)
    with pytest.raises(ResultsError, match=r"bad\.jsonl") as caught:
        read_results(path)
    assert what in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_format_lists_the_valid_ones(tmp_path):
    with pytest.raises(UnknownName, match="geneval-summary"):
        read_results(tmp_path, "gneval")


def test_a_missing_file_is_named():
    with pytest.raises(ResultsError, match=r"nowhere\.jsonl"):
        read_results("nowhere.jsonl")


def test_merging_the_same_image_twice_is_an_error(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(row(1, 0) + "\n")
    with pytest.raises(ResultsError, match="also in"):
        merge([(path, None), (path, None)])


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
def test_random_bytes_never_escape_as_a_traceback(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("fuzz") / "x"
    path.write_bytes(data)
    with pytest.raises(DatagenError):
        read_results(path)


def test_mutated_files_are_read_or_refused_never_a_crash(tmp_path):
    rng = random.Random(0)
    good = ("\n".join(row(p, i) for p in range(4) for i in range(2)) + "\n").encode()
    path = tmp_path / "x.jsonl"
    for _ in range(600):
        data = bytearray(good)
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(data))
            data[at : at + rng.randint(0, 3)] = bytes(rng.randrange(256) for _ in range(rng.randint(0, 3)))
        path.write_bytes(bytes(data))
        for format in (None, *READERS):
            try:
                rows = read_results(path, format)
            except DatagenError as error:
                assert "x.jsonl" in str(error)
            else:
                assert all(r.score is None or 0 <= r.score <= 1 for r in rows)
