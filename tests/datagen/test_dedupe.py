"""Pictures: the best of a cluster stays, targets apart but for near-exact copies, in blocks or not."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from datagen.dedupe import KEY, LINK, dedupe_images, linked, resolved
from datagen.sample import Clause, Sample, Target
from datagen.thumbnails import SIZE

TWO = Target("counting", (Clause("circle", 2),))
THREE = Target("counting", (Clause("circle", 3),))


def encoded(image, kind="PNG"):
    out = io.BytesIO()
    image.save(out, kind, quality=90, subsampling=0)
    return out.getvalue()


def circles(*places, noise=0):
    pixels = np.full((96, 96, 3), 250, np.uint8)
    y, x = np.mgrid[:96, :96]
    for at_x, at_y in places:
        pixels[(x - at_x) ** 2 + (y - at_y) ** 2 < 100] = (200, 30, 40)
    pixels = pixels + np.random.default_rng(0).integers(-noise, noise + 1, pixels.shape)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def sample(name, image, target=TWO, reward=0.5):
    return Sample("p", target, id=name, reward=reward, image=image)


def reasons(*samples, threshold=0.995):
    return [s.dropped for s in dedupe_images(samples, threshold)]


def test_a_copy_that_was_encoded_again_is_found_under_another_target():
    picture = circles((20, 20), (70, 60), noise=3)
    found = reasons(
        sample("a", encoded(picture)),
        sample("b", encoded(picture, "JPEG"), THREE, reward=1.0),
        sample("c", encoded(picture.resize((192, 192))), THREE, reward=0.2),
    )
    assert found == ["near_duplicate of b", "", "near_duplicate of b"]


def test_two_circles_and_three_are_both_wanted():
    two, three = circles((20, 20), (70, 60)), circles((20, 20), (70, 60), (25, 75))
    assert reasons(sample("a", encoded(two)), sample("b", encoded(three), THREE)) == ["", ""]


def test_a_circle_that_moved_is_near_within_its_target_only():
    one, moved = encoded(circles((20, 20), (70, 60))), encoded(circles((20, 20), (71, 60)))
    assert reasons(sample("a", one), sample("b", moved), threshold=0.98) == ["", "near_duplicate of a"]
    assert reasons(sample("a", one), sample("b", moved, THREE), threshold=0.98) == ["", ""]


def test_blank_pictures_are_copies_of_nothing():
    blank = encoded(Image.new("RGB", (32, 32), "white"))
    assert reasons(sample("a", blank), sample("b", blank), sample("c", blank, THREE)) == ["", "", ""]


def test_what_has_no_picture_or_was_dropped_is_not_compared():
    picture = encoded(circles((20, 20)))
    lost = replace(sample("b", picture, reward=1.0), dropped="unscored")
    assert reasons(sample("a", picture), lost, sample("c", None)) == ["", "unscored", ""]


@pytest.mark.parametrize("fits", [20, 150, 599])
def test_a_target_that_does_not_fit_is_compared_as_if_it_did(fits):
    rng = np.random.default_rng(1)
    base = rng.integers(0, 256, (40, SIZE))
    noise = rng.integers(-40, 41, (600, SIZE)) * rng.random((600, 1))
    small = (base[rng.integers(0, 40, 600)] + noise).clip(0, 255).astype(np.uint8)
    keys = np.zeros(600, KEY)
    keys["row"], keys["target"], keys["reward"] = np.arange(600), rng.integers(0, 3, 600), rng.random(600)
    whole = linked(keys, keys["target"], small.__getitem__, 0.985)
    parts = linked(keys, keys["target"], small.__getitem__, 0.985, fits)
    assert np.array_equal(np.sort(parts, order="gone"), np.sort(whole, order="gone"))
    assert 50 < len(whole) < 600
    assert (whole["keeper"]["reward"] >= whole["gone"]["reward"]).all()


def test_nobody_is_dropped_for_one_who_is_dropped():
    def link(gone, keeper):
        out = np.zeros(1, LINK)
        for end, row in (("gone", gone), ("keeper", keeper)):
            out[end]["row"], out[end]["reward"], out[end]["id"] = row, -row, f"k{row}"
        return out

    within = link(1, 0)
    copies = np.concatenate([link(5, 4), link(4, 3), link(3, 2), link(6, 1), link(4, 2), link(4, 2)])
    assert resolved(within, copies).tolist() == [(1, b"k0"), (3, b"k2"), (4, b"k2")]
