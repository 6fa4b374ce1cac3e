"""What arrives from models and users: torn, huge, odd or hostile pictures and texts."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from datagen.sample import Clause, Sample, Target
from rewards import load_reward
from rewards.base import open_image, readable


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def bomb(side: int) -> bytes:
    """A PNG whose header promises side x side pixels; a few hundred bytes."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 999))
        + chunk(b"IEND", b"")
    )


RED = Image.new("RGB", (48, 48), (200, 30, 30))
NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (48, 48, 3), dtype=np.uint8))
GIF = encoded(RED, "GIF", save_all=True, append_images=[Image.new("RGB", (48, 48), "blue")])
BAD = {
    "truncated": (encoded(NOISE)[:900], "not a readable image"),
    "bomb of 30,000 x 30,000": (bomb(30_000), "too large|larger than"),
    "larger than we read": (bomb(5_000), "5000 x 5000 px is larger than 4096 x 4096"),
    "empty": (b"", "not a readable image"),
    "no image": (b"<html>", "not a readable image"),
    "animated": (GIF, "animated image of 2 frames"),
    "floating point": (encoded(Image.fromarray(np.zeros((8, 8), np.float32)), "TIFF"), "floating-point"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_picture_is_refused_in_one_line(name):
    data, reason = BAD[name]
    with pytest.raises(ValueError, match=reason) as caught:
        open_image(data)
    assert "\n" not in str(caught.value)


def test_odd_pictures_keep_their_colours():
    for image, kind in (
        (RED.convert("P", palette=Image.Palette.ADAPTIVE), "PNG"),
        (RED.convert("CMYK"), "TIFF"),
        (RED.convert("RGBA"), "PNG"),
        (RED, "GIF"),
        (RED, "BMP"),
    ):
        read = open_image(encoded(image, kind))
        assert read.mode == "RGB"
        assert np.abs(np.asarray(read, dtype=int) - np.asarray(RED, dtype=int)).max() <= 6, (image.mode, kind)


def test_sixteen_bits_are_scaled_not_clipped():
    grey = Image.fromarray(np.full((8, 8), 0x8080, np.uint16))
    assert np.asarray(open_image(encoded(grey))).tolist()[0][0] == [128, 128, 128]


def test_what_is_transparent_lies_on_white():
    clear = Image.new("RGBA", (8, 8), (200, 0, 0, 0))
    assert open_image(encoded(clear)).getpixel((0, 0)) == (255, 255, 255)


def test_a_photograph_stands_upright():
    lying = Image.new("RGB", (40, 20))
    exif = lying.getexif()
    exif[0x0112] = 6
    assert open_image(encoded(lying, "JPEG", exif=exif)).size == (20, 40)


CIRCLE = Target("single_object", (Clause("circle"),))
WORD = Target("text", text=("CAT",))


@pytest.mark.parametrize("name", ["scenes", "hygiene", "lettering", "judge", "letters", "follows"])
def test_one_bad_picture_harms_only_itself(name):
    target = WORD if name in ("lettering", "letters") else CIRCLE
    trace = "red circle middle left"
    bad = [Sample("p", target, trace=trace, image=data) for data, _ in BAD.values()]
    good = Sample("p", target, trace=trace, image=encoded(RED))
    scores = load_reward(name).score([good, *bad, good])
    assert [s.value is None for s in scores[1:-1]] == [True] * len(bad)
    assert all(s.reason for s in scores[1:-1])
    assert scores[0] == scores[-1]
    assert scores[0].value is not None


HOSTILE = {
    "a million characters": "x" * 1_000_000,
    "a million words": "cat " * 250_000,
    "control characters": "\x00\x1b[31mcat\x07\u202e\ufeff",
    "a million quotes": "'\"" * 500_000,
    "empty": "",
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.timeout(20)
def test_hostile_text_neither_hangs_nor_crashes(name):
    text = HOSTILE[name]
    image = encoded(RED)
    samples = [
        Sample(text, CIRCLE, trace=text, image=image),
        Sample("p", Target("text", text=(text,)), trace=text, image=image),
        Sample(text, Target("text"), trace=text, image=image),
    ]
    for reward in ("scenes", "lettering", "letters", "trace", "follows", "hygiene"):
        for score in load_reward(reward).score(samples):
            assert score.value is None or 0 <= score.value <= 1
            assert len(score.reason) < 5000


def test_text_for_a_model_is_one_line_of_bounded_length():
    assert readable("\x00 a\x1b[1m\u202e b\n\tc ") == "a [1m b c"
    assert len(readable("x" * 10**6)) == 4000
