"""Objects in photographs: presence, count, colour and place by GenEval's rules on an open detector.

Value is the share of the target's atoms that hold, 1.0 exactly when GenEval says correct; ``details``
hold the detections. Colour is asked of CLIP on the masked crop, among GenEval's ten. Every detector
errs (GenEval drifts from people by up to 17.7%, arXiv 2512.16853): let a second judge confirm.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from datagen.errors import InputError, UnknownName
from datagen.sample import Sample, Score, Target
from rewards.base import Card
from rewards.batches import score_images
from rewards.clip import Clip
from rewards.detectors import DETECTORS, Detector, Found
from rewards.geneval import COLORS, Detection, confident, details, judge
from rewards.pretrained import chunks

if TYPE_CHECKING:
    from PIL.Image import Image

COLOR_CLIP = "openai/clip-vit-large-patch14"
TEMPLATES = (
    "a photo of a {color} {cls}",
    "a photo of a {color}-colored {cls}",
    "a photo of a {color} object",
)
GREY = (153, 153, 153)  # what lies around the masked object


class ColorNamer:
    """Zero-shot colour of detected objects: CLIP on crops, each class with its own ten texts."""

    def __init__(self, checkpoint: str, device: str | None, batch_size: int = 64) -> None:
        self.clip = Clip(checkpoint, device, batch_size)
        self.texts: dict[str, Tensor] = {}

    def _classes(self, cls: str) -> Tensor:
        """[10, D]: the mean of the templates' embeddings, of unit length."""
        if cls not in self.texts:
            prompts = [t.format(color=c, cls=cls) for c in COLORS for t in TEMPLATES]
            embedded = self.clip.embed_texts(prompts)[0].reshape(len(COLORS), len(TEMPLATES), -1).mean(1)
            self.texts[cls] = torch.nn.functional.normalize(embedded, dim=-1)
        return self.texts[cls]

    def name(self, crops: "Sequence[tuple[str, Image]]") -> list[str]:
        """The colour of each (class, crop)."""
        out = []
        for part in chunks(crops, self.clip.batch_size):
            seen = self.clip.embed_images([crop for _, crop in part])
            for (cls, _), one in zip(part, seen, strict=True):
                out.append(COLORS[int((self._classes(cls) @ one).argmax())])
        return out


def crop(image: "Image", detection: Detection) -> "Image":
    """The object on grey, cut to its box (at least one pixel)."""
    from PIL import Image

    if detection.mask is not None:
        image = Image.composite(image, Image.new("RGB", image.size, GREY), Image.fromarray(detection.mask))
    left, top, right, bottom = (round(v) for v in detection.box)
    left, top = min(max(left, 0), image.width - 1), min(max(top, 0), image.height - 1)
    right, bottom = min(max(right, left + 1), image.width), min(max(bottom, top + 1), image.height)
    return image.crop((left, top, right, bottom))


class Objects:
    name = "objects"
    heldout = False
    card = Card(
        ("target", "image"), "share of atoms that hold; 1 is GenEval's correct", "MIT, Apache-2.0 by detector",
        memory_gib=6.0, batch_size=32, checkpoint="facebook/mask2former-swin-small-coco-instance",
    )  # fmt: skip

    def __init__(
        self,
        detector: str = "mask2former",
        checkpoint: str | None = None,
        color_checkpoint: str = COLOR_CLIP,
        thresholds: Mapping[str, float] | None = None,
        device: str | None = None,
        batch_size: int | None = None,
    ) -> None:
        """``thresholds``: any of ``score``, ``counting``, ``overlap``, instead of the detector's own."""
        if detector not in DETECTORS:
            raise UnknownName("detector", detector, DETECTORS)
        kind = DETECTORS[detector]
        if unknown := sorted(set(thresholds or ()) - {"score", "counting", "overlap"}):
            raise InputError(
                f"reward 'objects': unknown threshold {unknown[0]!r}; valid: score, counting, overlap"
            )
        self.batch_size = batch_size or self.card.batch_size
        self.detector: Detector = kind(checkpoint, device)
        self.detector.thresholds = replace(self.detector.thresholds, **(thresholds or {}))
        self.color_checkpoint, self.device = color_checkpoint, device
        self._namer: ColorNamer | None = None

    @property
    def namer(self) -> ColorNamer:
        if self._namer is None:  # only targets with colours need it
            self._namer = ColorNamer(self.color_checkpoint, self.device)
        return self._namer

    def score(self, samples: Sequence[Sample]) -> list[Score]:
        refused = {i: why for i, s in enumerate(samples) if (why := self._refuses(s.target))}
        judged = iter(
            score_images(
                self.name,
                self.card,
                [s for i, s in enumerate(samples) if i not in refused],
                self._judge,
                self.batch_size,
            )
        )
        return [
            Score(self.name, None, refused[i]) if i in refused else next(judged) for i in range(len(samples))
        ]

    def _refuses(self, target: Target) -> str:
        """Why this target cannot be judged, or nothing."""
        clauses = (*target.include, *target.exclude)
        if not clauses:
            return "the target asks for no object"
        if sized := [c for c in clauses if c.size]:
            return f"size ({sized[0].size} {sized[0].cls}) is not judged by detection"
        if colored := [c for c in target.exclude if c.color]:
            return f"GenEval excludes classes, not colours ({colored[0].color} {colored[0].cls})"
        if wrong := [c.color for c in clauses if c.color and c.color not in COLORS]:
            return f"colour {wrong[0]!r} is not one of {', '.join(COLORS)}"
        if missing := self.detector.unknown([c.cls for c in clauses]):
            return f"the detector knows no {missing[0]!r}"
        return ""

    def _judge(self, images: "list[Image]", samples: list[Sample]) -> list[Score]:
        classes = [
            list(dict.fromkeys(c.cls for c in (*s.target.include, *s.target.exclude))) for s in samples
        ]
        limits = self.detector.thresholds
        objects: list[Found] = []
        for found, sample in zip(self._find(images, classes), samples, strict=True):
            least = limits.counting if sample.target.tag == "counting" else limits.score
            kept = {cls: confident(all_, least, limits.overlap) for cls, all_ in found.items()}
            objects.append({cls: some for cls, some in kept.items() if some})
        named = self._colors(images, samples, objects)
        out = []
        for i, sample in enumerate(samples):

            def colors(cls: str, some: Sequence[Detection], i: int = i) -> list[str]:
                return [named[i, cls, n] for n in range(len(some))]

            verdict = judge(objects[i], sample.target, colors)
            out.append(Score(self.name, verdict.value, verdict.reason, details(objects[i])))
        return out

    def _find(self, images: "list[Image]", classes: list[list[str]]) -> list[Found]:
        """Detections, pictures of one size at a time: padding would make a picture's boxes depend on
        what else is in its batch."""
        sizes: dict[tuple[int, int], list[int]] = {}
        for i, image in enumerate(images):
            sizes.setdefault(image.size, []).append(i)
        found: dict[int, Found] = {}
        for rows in sizes.values():
            some = self.detector.find([images[i] for i in rows], [classes[i] for i in rows])
            found.update(zip(rows, some, strict=True))
        return [found[i] for i in range(len(images))]

    def _colors(
        self, images: "list[Image]", samples: list[Sample], objects: Sequence[Found]
    ) -> dict[tuple[int, str, int], str]:
        """Colours of the objects that a clause asks about, all pictures' crops in one go."""
        asked: list[tuple[int, str, int]] = []
        for i, sample in enumerate(samples):
            for cls in dict.fromkeys(c.cls for c in sample.target.include if c.color):
                most = max(c.count for c in sample.target.include if c.cls == cls)
                asked += [(i, cls, n) for n in range(min(most, len(objects[i].get(cls, ()))))]
        if not asked:
            return {}
        crops: list[Any] = [(cls, crop(images[i], objects[i][cls][n])) for i, cls, n in asked]
        return dict(zip(asked, self.namer.name(crops), strict=True))
