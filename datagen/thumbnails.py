"""Pictures as 16 x 16 thumbnails, and those as unit vectors: what near-duplicates are found by.

The embedding is the picture itself, centred and normalised: exact copies and tiny shifts score above 0.99,
another layout far below. A learned embedding would need a download; for photographs it belongs here. A
worker makes the thumbnail when it writes the picture, so that nobody decodes a million of them at the end.
"""

import io

import numpy as np

SIDE = 16
SIZE = SIDE * SIDE * 3  # bytes of a thumbnail, numbers of a vector


def thumbnail(image: bytes) -> bytes:
    """RGB bytes [16 * 16 * 3] of an encoded picture, each pixel the mean of its box."""
    from PIL import Image

    return Image.open(io.BytesIO(image)).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX).tobytes()


def vectors(thumbnails: np.ndarray) -> np.ndarray:
    """[n, 768] float16, unit length (zeros for a blank picture), of thumbnails [n, 768] uint8."""
    pixels = thumbnails.reshape(-1, SIDE * SIDE, 3).astype(np.float32)
    pixels -= np.median(pixels, axis=1, keepdims=True)
    flat = pixels.reshape(-1, SIZE)
    norms = np.linalg.norm(flat, axis=1, keepdims=True)
    return (flat / np.where(norms, norms, 1)).astype(np.float16)
