"""Thumbnails as vectors: shifts are near, layouts far, blanks nothing."""

import io

import numpy as np
from PIL import Image

from datagen.thumbnails import SIZE, thumbnail, vectors


def picture(*boxes, ground=255):
    image = Image.new("RGB", (64, 64), (ground,) * 3)
    for box, color in boxes:
        image.paste(color, box)
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def vectors_of(*images):
    return vectors(np.stack([np.frombuffer(thumbnail(i), np.uint8) for i in images])).astype(np.float32)


def test_a_small_shift_is_near_and_another_layout_far():
    one, shifted, other = vectors_of(
        picture(((10, 10, 40, 40), "red")),
        picture(((11, 10, 41, 40), "red")),
        picture(((30, 30, 60, 60), "blue")),
    )
    assert one @ one > 0.999
    assert 0.95 < one @ shifted < one @ one
    assert one @ other < 0.5


def test_a_blank_picture_is_no_vector_whatever_its_color():
    assert not vectors_of(picture(), picture(ground=7)).any()
    assert len(thumbnail(picture())) == SIZE
