"""Lettering in photographs, read by RapidOCR (PP-OCR on ONNX): the weights are in its wheel.

Install with ``pip install 'datagen[ocr]'``. Known way to game it: letters on nothing. An OCR reward
alone destroys texture, so put it beside a preference model and keep ``hygiene``'s edges in sight.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from datagen.errors import ModelError
from rewards.base import Card
from rewards.spelling import SpellingReward

if TYPE_CHECKING:
    from PIL.Image import Image

LINE_OVERLAP = 0.5  # of their heights, from which two boxes stand on one line


class Text(SpellingReward):
    name = "text"
    card = Card(
        ("prompt", "target", "image"), "1 - edit distance / length, mean over the spans",
        "Apache-2.0 (code and weights)", memory_gib=0.5, batch_size=8, checkpoint="PP-OCRv6 small, in the wheel",
    )  # fmt: skip

    def __init__(self, side: int = 448, confidence: float = 0.5, threads: int = 1) -> None:
        """``side``: smaller pictures are enlarged to it; ``confidence``: of a line that counts as read."""
        try:
            from rapidocr import RapidOCR
        except ImportError as error:
            raise ModelError("reward 'text' needs RapidOCR: pip install 'datagen[ocr]'") from error
        self.engine = RapidOCR(
            params={
                "Global.log_level": "error",
                "Global.text_score": confidence,
                "Det.limit_side_len": side,
                "Det.limit_type": "min",
                "EngineConfig.onnxruntime.intra_op_num_threads": threads,
                "EngineConfig.onnxruntime.inter_op_num_threads": threads,
            }
        )

    def read(self, images: "list[Image]") -> list[list[str]]:
        return [self._one(np.asarray(image)[:, :, ::-1]) for image in images]

    def _one(self, bgr: np.ndarray) -> list[str]:
        found: Any = self.engine(np.ascontiguousarray(bgr))  # its type depends on the stages that ran
        if found.boxes is None or found.txts is None:
            return []
        return lines(list(zip(found.boxes, found.txts, strict=True)))


def lines(boxes: "list[tuple[Any, str]]") -> list[str]:
    """Boxes ([4, 2] corners, text) to lines of text, top to bottom, each left to right."""
    spans = sorted(
        (
            (min(p[1] for p in box), max(p[1] for p in box), min(p[0] for p in box), text)
            for box, text in boxes
        ),
        key=lambda s: (s[0] + s[1]) / 2,
    )
    rows: list[list[tuple[float, float, float, str]]] = []
    for span in spans:
        top, bottom = span[0], span[1]
        last = rows[-1][-1] if rows else None
        if last and min(bottom, last[1]) - max(top, last[0]) > LINE_OVERLAP * min(
            bottom - top, last[1] - last[0]
        ):
            rows[-1].append(span)
        else:
            rows.append([span])
    return [" ".join(s[3] for s in sorted(row, key=lambda s: s[2])) for row in rows]
