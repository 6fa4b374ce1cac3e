"""RapidOCR for real, on rendered strings. Skipped where the extra ``ocr`` is not installed."""

import io
import random

import pytest

pytest.importorskip("rapidocr")

from benchmarks.rewards import rendered
from datagen.sample import Sample, Target
from rewards.text import Text, lines


@pytest.fixture(scope="module")
def reader() -> Text:
    return Text(side=320)


def test_rendered_strings_are_read_and_others_are_told_apart(reader):
    rng = random.Random(5)
    wanted = [rendered(rng) for _ in range(24)]
    right = reader.score([Sample("p", Target("text", text=(t,)), image=i) for t, i in wanted])
    others = wanted[1:] + wanted[:1]
    wrong = reader.score(
        [
            Sample("p", Target("text", text=(t,)), image=i)
            for (t, _), (_, i) in zip(others, wanted, strict=True)
        ]
    )
    assert sum(s.value >= 0.9 for s in right) >= 23
    assert sum(s.value <= 0.5 for s in wrong) >= 23


def test_a_picture_without_lettering_scores_zero_and_says_so(reader):
    from PIL import Image

    out = io.BytesIO()
    Image.new("RGB", (64, 64), "white").save(out, "PNG")
    (score,) = reader.score([Sample('a sign "OPEN"', Target("text"), image=out.getvalue())])
    assert score.value == 0.0
    assert score.reason == "expected text 'OPEN', found 'none'"


def test_boxes_become_lines_from_left_to_right():
    def box(x, y):
        return [(x, y), (x + 40, y), (x + 40, y + 10), (x, y + 10)]

    assert lines([(box(60, 2), "b"), (box(0, 0), "a"), (box(0, 20), "c")]) == ["a b", "c"]
