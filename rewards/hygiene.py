"""Image hygiene: is this a picture at all. Rules, no model; meant as a gate, and as an alarm's figures.

Optimising any learned judge drifts these figures first: preference models buy saturation, OCR rewards
buy edges and destroy texture. So the same figures are the gate (``score``: 1 or 0 with the rule that
failed) and the monitor (``figures``, read by ``datagen.alarms``). Copies are found by the hash of the
decoded pixels, so another file format or metadata does not hide one; near copies are dedupe's work.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from datagen.errors import InputError
from datagen.sample import Sample, Score
from rewards.base import Card, open_image
from rewards.batches import score_images

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE = 512  # figures are taken of a picture of at most this side: they do not depend on its resolution
EDGE = 0.1  # gradient of luminance, in ranges (0..1) a pixel, that counts as an edge
LIMITS: dict[str, tuple[float, float]] = {  # figure -> (lowest, highest) that passes
    "contrast": (0.01, 1.0),  # standard deviation of luminance: under it the picture is blank
    "entropy": (0.1, 8.0),  # bits of the luminance histogram; photographs have 6 to 7.8
    "saturation": (0.0, 0.9),  # mean HSV saturation
    "edges": (0.0, 0.6),  # share of pixels on an edge; noise has 0.7 and more
    "dark": (0.0, 0.97),  # share of pixels that are black
    "light": (0.0, 0.995),  # share of pixels that are white
}


def figures(image: "Image") -> dict[str, float]:
    """The figures of ``LIMITS`` of an RGB picture."""
    small = image.copy()
    small.thumbnail((SIDE, SIDE))
    rgb = np.asarray(small, dtype=np.float32) / 255  # [H, W, 3]
    grey = rgb @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    most, least = rgb.max(-1), rgb.min(-1)
    saturation = np.where(most > 0, (most - least) / np.maximum(most, 1e-6), 0)
    counts = np.bincount((grey * 255).astype(np.uint8).ravel(), minlength=256)
    share = counts[counts > 0] / counts.sum()
    down, across = np.gradient(grey) if min(grey.shape) > 1 else (np.zeros_like(grey), np.zeros_like(grey))
    return {
        "contrast": float(grey.std()),
        "entropy": float(-(share * np.log2(share)).sum()),
        "saturation": float(saturation.mean()),
        "edges": float((np.hypot(down, across) > EDGE).mean()),
        "dark": float((grey < 0.06).mean()),
        "light": float((grey > 0.98).mean()),
    }


def fingerprint(image: "Image") -> str:
    """sha256 of size and pixels."""
    return hashlib.sha256(f"{image.size}".encode() + image.tobytes()).hexdigest()


class Hygiene:
    """1 when every figure lies within its limits and the picture is no copy of a reference, else 0."""

    name = "hygiene"
    heldout = False
    card = Card(("image",), "1 passes, 0 fails a rule", "Apache-2.0, rules", batch_size=16)

    def __init__(
        self, limits: Mapping[str, Sequence[float]] | None = None, references: str | Path | None = None
    ) -> None:
        """``limits`` replaces some of ``LIMITS``; ``references`` is a folder of pictures not to copy."""
        if unknown := sorted(set(limits or ()) - set(LIMITS)):
            raise InputError(f"reward 'hygiene': unknown limit {unknown[0]!r}; valid: {', '.join(LIMITS)}")
        self.limits = dict(LIMITS)
        for figure, pair in (limits or {}).items():
            if not isinstance(pair, list | tuple) or len(pair) != 2 or not pair[0] <= pair[1]:
                raise InputError(f"reward 'hygiene': limit {figure!r} is [lowest, highest], not {pair!r}")
            self.limits[figure] = (float(pair[0]), float(pair[1]))
        self.references = _references(Path(references)) if references is not None else {}

    def score(self, samples: Sequence[Sample]) -> list[Score]:
        return score_images(self.name, self.card, samples, self._judge)

    def _judge(self, images: "list[Image]", samples: list[Sample]) -> list[Score]:
        return [self._one(image) for image in images]

    def _one(self, image: "Image") -> Score:
        found = figures(image)
        reasons = [
            f"{name} {found[name]:.3f} is outside {low:g} to {high:g}"
            for name, (low, high) in self.limits.items()
            if not low <= found[name] <= high
        ]
        if self.references and (original := self.references.get(fingerprint(image))):
            reasons.append(f"an exact copy of {original}")
        return Score(self.name, float(not reasons), "\n".join(reasons), found)


def _references(folder: Path) -> dict[str, str]:
    if not folder.is_dir():
        raise InputError(f"reward 'hygiene': references: {folder} is no folder")
    out = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        try:
            out[fingerprint(open_image(path.read_bytes()))] = path.name
        except ValueError as error:
            raise InputError(f"reward 'hygiene': references: {path}: {error}") from error
    return out
