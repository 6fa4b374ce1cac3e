"""Draw a layout as a 48 x 48 picture: anti-aliased shapes on paper, letters from a 5 x 5 pixel font.

The shapes are drawn once at 8x and averaged down, then pasted, so a scene costs well under a
millisecond. Positions are jittered inside the cell; letters sit on the 6 px lattice.
"""

import random
from collections.abc import Sequence
from functools import cache
from math import cos, pi, sin

import numpy as np
from PIL import Image, ImageDraw

from datagen.scenes.layout import Placed
from datagen.scenes.vocabulary import COLORS, GRID, SIZE_PX

DIAMETER = {"small": 8, "large": 13}  # in a 16 px cell: neighbours never touch
CELL = SIZE_PX // GRID
LETTER = 6  # px, one lattice step
LEFT = 1  # lattice column where words begin: a letter's place is its number in the word, whatever its length

FONT = {
    "A": "01110 10001 11111 10001 10001",
    "B": "11110 10001 11110 10001 11110",
    "C": "01111 10000 10000 10000 01111",
    "D": "11110 10001 10001 10001 11110",
    "E": "11111 10000 11110 10000 11111",
    "F": "11111 10000 11110 10000 10000",
    "G": "01111 10000 10011 10001 01111",
    "H": "10001 10001 11111 10001 10001",
    "I": "11111 00100 00100 00100 11111",
    "J": "00111 00010 00010 10010 01100",
    "K": "10010 10100 11000 10100 10010",
    "L": "10000 10000 10000 10000 11111",
    "M": "10001 11011 10101 10001 10001",
    "N": "10001 11001 10101 10011 10001",
    "O": "01110 10001 10001 10001 01110",
    "P": "11110 10001 11110 10000 10000",
    "Q": "01110 10001 10101 10010 01101",
    "R": "11110 10001 11110 10010 10001",
    "S": "01111 10000 01110 00001 11110",
    "T": "11111 00100 00100 00100 00100",
    "U": "10001 10001 10001 10001 01110",
    "V": "10001 10001 01010 01010 00100",
    "W": "10001 10001 10101 11011 10001",
    "X": "10001 01010 00100 01010 10001",
    "Y": "10001 01010 00100 00100 00100",
    "Z": "11111 00010 00100 01000 11111",
}


@cache
def glyph(letter: str) -> np.ndarray:
    """[5, 5] float mask of a capital letter."""
    return np.array([[float(x) for x in row] for row in FONT[letter].split()])


@cache
def shape_mask(shape: str, diameter: int) -> np.ndarray:
    """[d, d] float coverage of a shape that fills its box."""
    scale = 8
    n = diameter * scale
    image = Image.new("L", (n, n))
    draw = ImageDraw.Draw(image)
    if shape == "circle":
        draw.ellipse((0, 0, n - 1, n - 1), fill=255)
    elif shape == "square":
        pad = n // 14
        draw.rectangle((pad, pad, n - 1 - pad, n - 1 - pad), fill=255)
    elif shape == "triangle":
        draw.polygon([(n / 2, 0), (n - 1, n - 1), (0, n - 1)], fill=255)
    elif shape == "cross":
        arm = n * 0.34
        draw.rectangle(((n - arm) / 2, 0, (n + arm) / 2, n - 1), fill=255)
        draw.rectangle((0, (n - arm) / 2, n - 1, (n + arm) / 2), fill=255)
    elif shape == "star":
        points = [
            (
                n / 2 + n / 2 * (1 if i % 2 == 0 else 0.42) * sin(pi * i / 5),
                n / 2 * 1.05 - n / 2 * (1 if i % 2 == 0 else 0.42) * cos(pi * i / 5),
            )
            for i in range(10)
        ]
        draw.polygon(points, fill=255)
    elif shape == "heart":
        r = n * 0.27
        draw.ellipse((0, 0, 2 * r, 2 * r), fill=255)
        draw.ellipse((n - 1 - 2 * r, 0, n - 1, 2 * r), fill=255)
        draw.polygon([(n * 0.045, r * 1.45), (n * 0.955, r * 1.45), (n / 2, n - 1)], fill=255)
        draw.rectangle((r, r * 0.9, n - 1 - r, r * 1.5), fill=255)
    else:
        raise ValueError(f"no drawing for shape {shape!r}")
    pixels = np.asarray(image, dtype=np.float32) / 255
    return pixels.reshape(diameter, scale, diameter, scale).mean((1, 3))


def paper(rng: random.Random) -> np.ndarray:
    """[48, 48, 3] float background: light, faintly tinted."""
    base = rng.uniform(236, 252)
    return np.full((SIZE_PX, SIZE_PX, 3), [base + rng.uniform(-4, 3) for _ in range(3)], dtype=np.float32)


def draw_layout(placed: Sequence[Placed], rng: random.Random) -> np.ndarray:
    """[48, 48, 3] uint8. The same layout and generator state give the same pixels."""
    canvas = paper(rng)
    for p in placed:
        color = np.array([c + rng.uniform(-8, 8) for c in COLORS[p.color]], dtype=np.float32)
        if p.word:
            row = (1, 3, 6)[p.cell] * LETTER
            for i, letter in enumerate(p.word):
                _paste(canvas, glyph(letter), (LEFT + i) * LETTER, row, color)
            continue
        d = DIAMETER[p.size or "large"]
        slack = CELL - d
        wiggle = min(slack // 2, 2)
        x = p.column * CELL + slack // 2 + rng.randint(-wiggle, wiggle)
        y = p.row * CELL + slack // 2 + rng.randint(-wiggle, wiggle)
        _paste(canvas, shape_mask(p.shape, d), x, y, color)
    return np.clip(np.rint(canvas), 0, 255).astype(np.uint8)


def _paste(canvas: np.ndarray, mask: np.ndarray, x: int, y: int, color: np.ndarray) -> None:
    h, w = mask.shape
    alpha = mask[:, :, None]
    view = canvas[y : y + h, x : x + w]
    view[:] = (1 - alpha) * view + alpha * color
