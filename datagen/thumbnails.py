"""Pictures as 16 x 16 thumbnails, and those as unit vectors: what near-duplicates are found by.

The embedding is the picture itself, centred and normalised: exact copies and tiny shifts score above 0.99,
another layout far below. A learned embedding would need a download; for photographs it belongs here. A
worker makes the thumbnail when it writes the picture, so that nobody decodes a million of them at the end.

``fingerprints`` find near-exact copies among any number of pictures: which side of random planes a vector is
on, as numbers of ``BITS`` bits (Charikar 2002). Two vectors at a cosine of 0.9995 differ in each bit with
probability 0.01, so that one band of six is equal for 0.993 of them; two at 0.95 share one in 65 times.
"""

import io
from functools import cache

import numpy as np

SIDE = 16
SIZE = SIDE * SIDE * 3  # bytes of a thumbnail, numbers of a vector
BANDS, BITS = 6, 56
CHUNK = 8192  # thumbnails turned at once


def thumbnail(image: bytes) -> bytes:
    """RGB bytes [16 * 16 * 3] of an encoded picture, each pixel the mean of its box."""
    from PIL import Image

    return Image.open(io.BytesIO(image)).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX).tobytes()


def vectors(thumbnails: np.ndarray) -> np.ndarray:
    """[n, 768] float32, unit length (zeros for a blank picture), of thumbnails [n, 768] uint8."""
    flat = _centred(thumbnails)
    norms = np.linalg.norm(flat, axis=1, keepdims=True)
    flat /= np.where(norms, norms, 1)
    return flat


def fingerprints(thumbnails: np.ndarray) -> np.ndarray:
    """[n, BANDS] uint64 of thumbnails [n, 768] uint8; zeros for a blank picture.

    The planes' coordinates are 1 and -1 and the pixels are halves at most, so every sum is exact: the same
    bits on every machine.
    """
    out = np.zeros((len(thumbnails), BANDS, 8), np.uint8)
    for start in range(0, len(thumbnails), CHUNK):
        flat = _centred(thumbnails[start : start + CHUNK])
        sides = (flat @ _planes() > 0).reshape(-1, BANDS, BITS)
        here = out[start : start + CHUNK]
        here[:, :, : BITS // 8] = np.packbits(sides, axis=2)
        here[:, :, 7] = np.arange(1, BANDS + 1)
        here[~flat.any(axis=1)] = 0
    return out.view(np.uint64)[:, :, 0]


def _centred(thumbnails: np.ndarray) -> np.ndarray:
    """[n, 768] float32: each colour less its median, which is mostly the ground's."""
    pixels = thumbnails.reshape(-1, SIDE * SIDE, 3).astype(np.float32)
    pixels -= np.median(pixels, axis=1, keepdims=True)
    return pixels.reshape(-1, SIZE)


@cache
def _planes() -> np.ndarray:
    return np.random.default_rng(0).choice(np.array([-1, 1], np.float32), (SIZE, BANDS * BITS))
