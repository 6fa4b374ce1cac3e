"""What a reward is: a name, a card, and ``score(samples) -> list[Score]``, one score a sample, in order.

``value`` None means "could not judge": the sample is excluded, never scored 0. A picture that was
never drawn is a failure of the model, not of the judge, and scores the scale's bottom. Bytes from a
model or a user are never trusted: ``open_image`` refuses a bomb before a pixel is decoded.
"""

import io
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from datagen.sample import Sample, Score

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PIXELS = 4096 * 4096
MAX_CHARS = 4000  # of any text given to a model: more than 77, 512 or 2,000 tokens' worth is cut anyway
NO_IMAGE = "no image was opened"
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]+")


@dataclass(frozen=True)
class Card:
    """What a reward declares before it is loaded.

    ``inputs`` are the fields of ``Sample`` it reads. ``low`` and ``high`` bound its scale (None: no
    bound); higher is better, always. ``memory_gib`` is what its weights and one batch take on the
    device, 0 for rules. ``batch_size`` is the number of images in one forward.
    """

    inputs: tuple[str, ...]
    scale: str
    licence: str
    low: float | None = 0.0
    high: float | None = 1.0
    memory_gib: float = 0.0
    batch_size: int = 1
    checkpoint: str = ""

    @property
    def unit(self) -> bool:
        """Whether values lie in [0, 1], so that they may be averaged with others as they are."""
        return self.low == 0.0 and self.high == 1.0


UNDECLARED = Card(("prompt", "target", "trace", "image"), "not declared: taken as 0 to 1", "the user's own")


class RewardFunction(Protocol):
    """A judge. ``heldout`` judges are for evaluation and refuse to be used for weighting."""

    name: str
    heldout: bool
    card: Card

    def score(self, samples: Sequence[Sample]) -> list[Score]: ...


def open_image(image: bytes) -> "Image":
    """Bytes to an upright RGB picture, transparency on white, 16 bits scaled to 8.

    Raises ``ValueError`` in one line for what is no image, torn, larger than 4096 x 4096 px, or
    animated (which of its pictures would be judged?).
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit is lower
            picture: Image.Image = Image.open(io.BytesIO(image))
        if picture.width * picture.height > MAX_PIXELS:
            raise ValueError(f"image of {picture.width} x {picture.height} px is larger than 4096 x 4096")
        frames = getattr(picture, "n_frames", 1)
        if frames > 1:
            raise ValueError(f"animated image of {frames} frames: one picture is judged, not several")
        picture = ImageOps.exif_transpose(picture)
        return _rgb(picture)
    except Image.DecompressionBombError as error:
        raise ValueError(f"image is too large: {error}") from error
    except (UnidentifiedImageError, OSError, SyntaxError, EOFError, OverflowError) as error:
        raise ValueError(
            f"not a readable image: {str(error).splitlines()[0] if str(error) else 'torn'}"
        ) from error


def _rgb(picture: "Image") -> "Image":
    from PIL import Image

    if picture.mode.startswith("I"):  # PIL's own conversion clips 16 bits instead of scaling them
        wide = np.asarray(picture).astype(np.int64)
        return Image.fromarray((wide.clip(0, 65535) // 257).astype(np.uint8)).convert("RGB")
    if picture.mode == "F":
        raise ValueError("image of floating-point pixels: their range is not known")
    if picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        solid = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", solid.size, "white"), solid).convert("RGB")
    return picture.convert("RGB")


def pixels(image: bytes) -> np.ndarray:
    """``open_image`` as [H, W, 3] uint8."""
    return np.asarray(open_image(image))


def readable(text: str, limit: int = MAX_CHARS) -> str:
    """``text`` without control characters, on one line, cut at ``limit`` characters."""
    return " ".join(_CONTROL.sub(" ", text[: 4 * limit]).split())[:limit].strip()
