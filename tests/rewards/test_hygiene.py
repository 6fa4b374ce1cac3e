"""Hygiene: what is no picture fails by the rule that says so, and pictures pass."""

import io
import random

import numpy as np
import pytest
from PIL import Image

from datagen.errors import InputError
from datagen.sample import Sample, Target
from datagen.scenes.captions import sample_caption
from datagen.scenes.draw import draw_layout
from rewards.hygiene import LIMITS, Hygiene, figures


def encoded(array: np.ndarray, kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.fromarray(array).save(out, kind)
    return out.getvalue()


def judge(array: np.ndarray, reward: Hygiene | None = None):
    return (reward or Hygiene()).score([Sample("p", Target("t"), image=encoded(array))])[0]


RNG = np.random.default_rng(0)
ROWS, COLUMNS = np.mgrid[0:64, 0:64]
SMOOTH = np.stack([ROWS * 3, COLUMNS * 3, 255 - ROWS * 2], -1).astype(np.uint8)


@pytest.mark.parametrize(
    ("picture", "rule"),
    [
        (np.full((64, 64, 3), 255, np.uint8), "contrast"),
        (np.zeros((64, 64, 3), np.uint8), "dark"),
        (np.full((64, 64, 3), 128, np.uint8), "entropy"),
        (np.stack([ROWS * 4, 0 * ROWS, 0 * ROWS], -1).astype(np.uint8), "saturation"),
        (RNG.integers(0, 255, (64, 64, 3), dtype=np.uint8), "edges"),
    ],
)
def test_what_is_no_picture_fails_by_its_rule(picture, rule):
    score = judge(picture)
    assert score.value == 0.0
    assert rule in score.reason


def test_scenes_and_smooth_pictures_pass():
    rng = random.Random(0)
    scenes = [
        draw_layout(sample_caption(rng, kind).layout, rng)
        for kind in ("single_object", "counting", "text", "color_attr") * 5
    ]
    for picture in (*scenes, SMOOTH):
        assert judge(picture).reason == ""


def test_figures_have_known_values():
    half = np.zeros((32, 32, 3), np.uint8)
    half[:, 16:] = 255
    found = figures(Image.fromarray(half))
    assert found["contrast"] == pytest.approx(0.5)
    assert found["entropy"] == pytest.approx(1.0)
    assert found["dark"] == found["light"] == pytest.approx(0.5)
    assert found["saturation"] == 0.0
    assert found["edges"] == pytest.approx(2 / 32)
    assert set(found) == set(LIMITS)
    assert figures(Image.new("RGB", (1, 1), "red"))["edges"] == 0.0


def test_figures_hardly_depend_on_resolution():
    small, large = Image.fromarray(SMOOTH).resize((512, 512)), Image.fromarray(SMOOTH).resize((1024, 1024))
    for name, value in figures(small).items():
        assert figures(large)[name] == pytest.approx(value, abs=0.03)


def test_a_copy_of_a_reference_fails_whatever_its_file_format(tmp_path):
    (tmp_path / "known.bmp").write_bytes(encoded(SMOOTH, "BMP"))
    reward = Hygiene(references=tmp_path)
    assert judge(SMOOTH, reward).reason == "an exact copy of known.bmp"
    other = SMOOTH.copy()
    other[0, 0] += 1
    assert judge(other, reward).value == 1.0


def test_limits_and_references_are_checked(tmp_path):
    assert judge(SMOOTH, Hygiene(limits={"entropy": [7.9, 8]})).value == 0.0
    with pytest.raises(InputError, match="unknown limit 'edge'; valid: contrast"):
        Hygiene(limits={"edge": [0, 1]})
    with pytest.raises(InputError, match=r"limit 'edges' is \[lowest, highest\]"):
        Hygiene(limits={"edges": [1, 0]})
    with pytest.raises(InputError, match="is no folder"):
        Hygiene(references=tmp_path / "none")
    (tmp_path / "notes.txt").write_text("not a picture")
    with pytest.raises(InputError, match=r"notes\.txt: not a readable image"):
        Hygiene(references=tmp_path)
