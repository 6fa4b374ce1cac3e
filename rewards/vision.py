"""Classical vision for scenes: pixels to objects, with connected components and templates.

Foreground is what differs from the paper; each foreground pixel takes the nearest colour name;
components of one colour are objects. A component's size comes from its box, its shape from the best
overlap with the drawn shapes at that size, its place from its box's centre. What fits no shape well
is reported with ``quality`` below ``MIN_QUALITY`` and is not an object. Nothing is learned, so it
shares no failure with the judge in ``judge.py``. Letters are read off the 6 px lattice the font
lives on, at any offset.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import ndimage

from datagen.scenes.draw import DIAMETER, FONT, LETTER, glyph, shape_mask
from datagen.scenes.layout import Seen
from datagen.scenes.vocabulary import COLORS, SHAPES

MIN_CONTRAST = 40.0  # Euclidean RGB distance from the paper
MIN_AREA = 14  # px: half of the smallest shape; smaller specks are noise
MIN_QUALITY = 0.60  # overlap (IoU) with the best template
COVERED = 0.45  # coverage from which a pixel belongs to an object
SMALL_BELOW = 10.5  # px: between the two drawn diameters

_NAMES = tuple(COLORS)
_PALETTE = np.array([COLORS[name] for name in _NAMES], dtype=np.float32)


@dataclass(frozen=True)
class Component:
    """One blob: its best reading and how well it fits."""

    seen: Seen
    quality: float
    area: int


@cache
def _templates(height: int, width: int) -> np.ndarray:
    """[shapes, height, width] coverage of every shape, drawn at the nearer size, fitted to a box."""
    diameter = DIAMETER["small" if max(height, width) < SMALL_BELOW else "large"]
    out = []
    for shape in SHAPES:
        mask = shape_mask(shape, diameter)
        rows, columns = np.nonzero((mask >= COVERED).any(1))[0], np.nonzero((mask >= COVERED).any(0))[0]
        mask = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        ratio = (height / mask.shape[0], width / mask.shape[1])
        out.append(ndimage.zoom(mask, ratio, order=1, grid_mode=True, mode="nearest"))
    return np.stack(out)


def paper_color(image: np.ndarray) -> np.ndarray:
    """[3] the background: the median of the lightest half of the pixels."""
    flat = image.reshape(-1, 3).astype(np.float32)
    light = flat.sum(1)
    return np.median(flat[light >= np.median(light)], axis=0)


def color_map(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[H, W] index of each pixel's colour (-1: paper) and [H, W] coverage in 0..1.

    An edge pixel is a blend of paper and ink: it is explained as ``paper + a * (ink - paper)`` for
    the ink that leaves the least error, so a pale edge of red is not pink.
    """
    paper = paper_color(image)
    offset = image.astype(np.float32) - paper  # [H, W, 3]
    inks = _PALETTE - paper  # [colours, 3]
    a = np.clip(offset @ inks.T / (inks**2).sum(1), 0, 1.15)  # [H, W, colours]
    error = np.linalg.norm(offset[:, :, None] - a[..., None] * inks, axis=-1)
    best = error.argmin(-1)
    coverage = np.take_along_axis(a, best[..., None], -1)[..., 0].clip(0, 1)
    far = np.linalg.norm(offset, axis=-1) >= MIN_CONTRAST
    return np.where(far & (coverage >= COVERED), best, -1), coverage


def components(image: np.ndarray) -> list[Component]:
    """Every blob of foreground in [H, W, 3] uint8, largest first.

    Blobs are found on the foreground as a whole and take the colour of their most covered pixels,
    so that the noise of a few edge pixels cannot split an object; a blob that is two colours is split.
    """
    index, coverage = color_map(image)
    found: list[Component] = []
    labels, count = ndimage.label(index >= 0)
    for label, box in enumerate(ndimage.find_objects(labels, count), start=1):
        blob = labels[box] == label
        if blob.sum() < MIN_AREA:
            continue
        inner = blob & (coverage[box] > 0.8)
        votes = np.bincount(index[box][inner if inner.any() else blob], minlength=len(_NAMES))
        strong = [c for c in range(len(_NAMES)) if votes[c] > 0.25 * votes.sum()]
        for color in strong:
            part = blob if len(strong) == 1 else blob & (index[box] == color)
            part_labels, parts = ndimage.label(part)
            for n, inside in enumerate(ndimage.find_objects(part_labels, parts), start=1):
                mask = part_labels[inside] == n
                if mask.sum() >= MIN_AREA:
                    y, x = box[0].start + inside[0].start, box[1].start + inside[1].start
                    ink = mask * coverage[y : y + mask.shape[0], x : x + mask.shape[1]]
                    found.append(_read(ink, y, x, _NAMES[color]))
    return sorted(found, key=lambda c: -c.area)


def _read(ink: np.ndarray, top: int, left: int, color: str) -> Component:
    height, width = ink.shape
    templates = _templates(height, width)
    overlap = np.minimum(templates, ink).sum((1, 2)) / np.maximum(templates, ink).sum((1, 2))
    best = int(overlap.argmax())
    side = max(height, width)
    quality = float(overlap[best])
    if side > DIAMETER["large"] + 3 or min(height, width) < 0.6 * side:
        quality = 0.0  # two touching shapes, a smear, or a stroke
    size = "small" if side < SMALL_BELOW else "large"
    seen = Seen(SHAPES[best], color, size, left + width / 2, top + height / 2)
    return Component(seen, quality, int((ink > 0).sum()))


def objects(image: np.ndarray) -> list[Seen]:
    """The objects in a picture that pass ``MIN_QUALITY``."""
    return [c.seen for c in components(image) if c.quality >= MIN_QUALITY]


def read_words(image: np.ndarray) -> list[str]:
    """Words of two letters or more, top to bottom, read with the 5 x 5 font at any offset."""
    index, coverage = color_map(image)
    ink = np.where(index >= 0, coverage, 0.0)
    glyphs = np.stack([glyph(c) for c in FONT])  # [26, 5, 5]
    letters = tuple(FONT)
    height, width = ink.shape
    best: list[tuple[float, int, str]] = []
    for top in range(height - 4):
        band = ink[top : top + 5]
        if band.sum() < 12:
            continue
        for start in range(LETTER):
            word, quality, at = "", [], start
            while at + 5 <= width:
                patch = band[:, at : at + 5]
                overlap = np.minimum(glyphs, patch).sum((1, 2)) / np.maximum(glyphs, patch).sum((1, 2)).clip(
                    1
                )
                if patch.sum() >= 5 and overlap.max() >= 0.6:
                    word += letters[int(overlap.argmax())]
                    quality.append(float(overlap.max()))
                elif word:
                    break
                at += LETTER
            if len(word) >= 2:
                best.append((float(np.sum(quality)), top, word))
    words: dict[int, str] = {}
    for _, top, word in sorted(best, reverse=True):
        if all(abs(top - row) >= 5 for row in words):
            words[top] = word
    return [word for _, word in sorted(words.items())]
