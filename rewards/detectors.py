"""Open detectors of transformers behind one method: pictures and class names to detections.

``mask2former`` is GenEval's own choice (COCO's 80 classes, masks); ``grounding_dino`` and ``owlv2``
take any noun and give boxes. Thresholds are those of GenEval for its detector, and the authors'
recommended ones for the others, where nobody has published GenEval-calibrated values: fit your own with
``datagen calibrate``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch

from rewards.geneval import Detection
from rewards.pretrained import device_for, model_of, pretrained

if TYPE_CHECKING:
    from PIL.Image import Image

Found = dict[str, list[Detection]]  # class -> everything above ``least``, unsorted

ALIASES = {  # GenEval's name -> COCO's, where they differ
    "computer mouse": "mouse", "tv remote": "remote", "computer keyboard": "keyboard", "mobile phone": "cell phone",
    "sofa": "couch", "television": "tv", "plane": "airplane", "motorbike": "motorcycle",
}  # fmt: skip


@dataclass(frozen=True)
class Thresholds:
    """Confidence a detection must exceed, and for counting; ``overlap`` from which a box is a repeat."""

    score: float
    counting: float
    overlap: float = 1.0


class Detector(Protocol):
    thresholds: Thresholds

    def unknown(self, classes: Sequence[str]) -> list[str]:
        """Those of ``classes`` that it can never find."""
        ...

    def find(self, images: "Sequence[Image]", classes: Sequence[Sequence[str]]) -> list[Found]: ...


class Mask2Former:
    """Instance segmentation with a closed vocabulary: the labels of the checkpoint."""

    checkpoint = "facebook/mask2former-swin-small-coco-instance"
    thresholds = Thresholds(0.3, 0.9)

    def __init__(self, checkpoint: str | None, device: str | None) -> None:
        from transformers import AutoImageProcessor, AutoModelForUniversalSegmentation

        source, self.device = checkpoint or self.checkpoint, device_for(device)
        self.processor = pretrained("objects", AutoImageProcessor.from_pretrained, source)
        self.model = model_of("objects", AutoModelForUniversalSegmentation, source, self.device)
        self.labels = {str(name).lower(): int(i) for i, name in self.model.config.id2label.items()}

    def unknown(self, classes: Sequence[str]) -> list[str]:
        return [c for c in classes if _coco(c, self.labels) is None]

    @torch.inference_mode()
    def find(self, images: "Sequence[Image]", classes: Sequence[Sequence[str]]) -> list[Found]:
        inputs = self.processor(images=list(images), return_tensors="pt").to(self.device, self.model.dtype)
        outputs = self.model(pixel_values=inputs["pixel_values"], pixel_mask=inputs.get("pixel_mask"))
        chances = outputs.class_queries_logits.float().softmax(-1)[..., :-1]  # [B, queries, labels]
        # Masks are judged at the size the network saw, 384 x 384 for the published checkpoints.
        size = tuple(inputs["pixel_values"].shape[-2:])
        masks = outputs.masks_queries_logits
        return [
            self._one(chances[i], masks[i], size, names, image)
            for i, (names, image) in enumerate(zip(classes, images, strict=True))
        ]

    def _one(
        self,
        chances: torch.Tensor,
        masks: torch.Tensor,
        seen: tuple[int, ...],
        names: Sequence[str],
        image: "Image",
    ) -> Found:
        """What the library's post-processing gives, masks made for the asked and confident only.

        A score is class probability x mean mask probability, so the first alone can rule a query out.
        """
        least = min(self.thresholds.score, self.thresholds.counting)
        wanted = {_coco(name, self.labels): name for name in names}
        ranked = chances.flatten().topk(chances.shape[0])  # as there: the surest (query, label) pairs
        pairs = [
            (chance, *divmod(pair, chances.shape[1]))
            for chance, pair in zip(ranked.values.tolist(), ranked.indices.tolist(), strict=True)
            if chance > least and pair % chances.shape[1] in wanted
        ]
        if not pairs:
            return {}
        logits = torch.nn.functional.interpolate(
            masks[[query for _, query, _ in pairs]][None].float(), seen, mode="bilinear"
        )[0]
        inside = logits > 0
        sure = (logits.sigmoid_() * inside).sum((1, 2)) / (inside.sum((1, 2)) + 1e-6)
        size = (image.height, image.width)
        whole = torch.nn.functional.interpolate(inside[None].float(), size, mode="nearest")[0].bool()
        found: Found = {}
        for (chance, _, label), share, mask in zip(pairs, sure.tolist(), whole.cpu().numpy(), strict=True):
            if chance * share > least and mask.any():
                rows, columns = mask.any(1).nonzero()[0], mask.any(0).nonzero()[0]
                box = (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
                found.setdefault(wanted[label], []).append(Detection(box, chance * share, mask))
        return found


def _coco(name: str, labels: dict[str, int]) -> int | None:
    lower = name.lower()
    return labels.get(lower, labels.get(ALIASES.get(lower, "")))


class GroundingDino:
    """Phrases in one caption, found as boxes."""

    checkpoint = "IDEA-Research/grounding-dino-tiny"
    thresholds = Thresholds(0.35, 0.35, 0.8)
    text_threshold = 0.25

    def __init__(self, checkpoint: str | None, device: str | None) -> None:
        from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor

        source, self.device = checkpoint or self.checkpoint, device_for(device)
        self.processor = pretrained("objects", AutoProcessor.from_pretrained, source)
        self.model = model_of("objects", AutoModelForZeroShotObjectDetection, source, self.device)

    def unknown(self, classes: Sequence[str]) -> list[str]:
        return []

    @torch.inference_mode()
    def find(self, images: "Sequence[Image]", classes: Sequence[Sequence[str]]) -> list[Found]:
        """A class that is asked for is scored by its own tokens: two classes of one word never mix."""
        captions = [" . ".join(c.lower() for c in names) + " ." for names in classes]
        inputs = self.processor(images=list(images), text=captions, padding=True, return_tensors="pt")
        inputs = inputs.to(self.device)
        inputs["pixel_values"] = inputs["pixel_values"].to(self.model.dtype)
        outputs = self.model(**inputs)
        chances = outputs.logits.float().sigmoid()  # [B, queries, tokens]
        boxes = outputs.pred_boxes.float()  # [B, queries, 4] centre and size, in shares of the picture
        offsets = self.processor.tokenizer(captions, return_offsets_mapping=True)["offset_mapping"]
        return [
            self._one(chances[i], boxes[i], offsets[i], names, captions[i], image)
            for i, (names, image) in enumerate(zip(classes, images, strict=True))
        ]

    def _one(
        self, chances: torch.Tensor, boxes: torch.Tensor, offsets: Sequence[tuple[int, int]],
        names: Sequence[str], caption: str, image: "Image",
    ) -> Found:  # fmt: skip
        columns, start = [], 0
        for name in names:
            end = start + len(name)
            columns.append([t for t, (a, b) in enumerate(offsets) if a < b and a >= start and b <= end])
            start = end + len(" . ")
        # [queries, classes]: a phrase's score is its most certain token, as in the authors' own decoding
        score = torch.stack([chances[:, c].amax(-1) if c else chances[:, 0] * 0 for c in columns], dim=-1)
        return _boxes(
            score,
            boxes,
            names,
            image.width,
            image.height,
            min(self.thresholds.score, self.thresholds.counting),
        )


class Owlv2:
    """A query a class. The picture is padded to a square, so boxes scale with its longer side."""

    checkpoint = "google/owlv2-base-patch16-ensemble"
    thresholds = Thresholds(0.2, 0.3, 0.8)

    def __init__(self, checkpoint: str | None, device: str | None) -> None:
        from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor

        source, self.device = checkpoint or self.checkpoint, device_for(device)
        self.processor = pretrained("objects", AutoProcessor.from_pretrained, source)
        self.model = model_of("objects", AutoModelForZeroShotObjectDetection, source, self.device)

    def unknown(self, classes: Sequence[str]) -> list[str]:
        return []

    @torch.inference_mode()
    def find(self, images: "Sequence[Image]", classes: Sequence[Sequence[str]]) -> list[Found]:
        queries = [[f"a photo of a {name}" for name in names] for names in classes]
        inputs = self.processor(text=queries, images=list(images), return_tensors="pt", truncation=True).to(
            self.device
        )
        inputs["pixel_values"] = inputs["pixel_values"].to(self.model.dtype)
        outputs = self.model(**inputs)
        chances = outputs.logits.float().sigmoid()  # [B, patches, most classes of a picture]
        least = min(self.thresholds.score, self.thresholds.counting)
        out = []
        for i, (names, image) in enumerate(zip(classes, images, strict=True)):
            side = max(image.width, image.height)
            score = chances[i, :, : len(names)]
            out.append(_boxes(score, outputs.pred_boxes[i].float(), names, side, side, least, image))
        return out


def _boxes(
    score: torch.Tensor, boxes: torch.Tensor, names: Sequence[str], width: int, height: int, least: float,
    image: "Image | None" = None,
) -> Found:  # fmt: skip
    """[N, classes] scores and [N, 4] relative boxes to detections; a box belongs to its best class."""
    best, which = score.max(-1)
    found: Found = {}
    for n in (best > least).nonzero()[:, 0].tolist():
        x, y, w, h = boxes[n].tolist()
        right, bottom = (image.width, image.height) if image is not None else (width, height)
        box = (
            min(max((x - w / 2) * width, 0.0), right), min(max((y - h / 2) * height, 0.0), bottom),
            min(max((x + w / 2) * width, 0.0), right), min(max((y + h / 2) * height, 0.0), bottom),
        )  # fmt: skip
        if box[2] > box[0] and box[3] > box[1]:
            found.setdefault(names[which[n]], []).append(Detection(box, float(best[n])))
    return found


DETECTORS: dict[str, Callable[[str | None, str | None], Detector]] = {
    "mask2former": Mask2Former,
    "grounding_dino": GroundingDino,
    "owlv2": Owlv2,
}
