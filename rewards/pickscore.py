"""PickScore v1: which of two pictures would people pick for this prompt (Kirstain et al. 2023).

A CLIP-H fine-tuned on Pick-a-Pic, plain transformers. The value is its logit, the scaled cosine,
divided by 26 as Flow-GRPO does, which puts it in about 0.6 to 1; only differences within a group mean
anything, so combine it by rank or z-score.
"""

from typing import Any

from torch import Tensor

from rewards.base import Card
from rewards.clip import EXACT, TwoTower
from rewards.pretrained import model_of, pretrained

PROCESSOR = "laion/CLIP-ViT-H-14-laion2B-s32B-b79K"  # the repository of the weights holds no processor


class PickScore(TwoTower):
    name = "pickscore"
    card = Card(
        ("prompt", "image"),
        "logit / 26, about 0.6 to 1",
        "MIT",
        None,
        None,
        4.0,
        32,
        "yuvalkirstain/PickScore_v1",
    )

    def load(self, checkpoint: str) -> tuple[Any, Any]:
        from pathlib import Path

        from transformers import AutoModel, AutoProcessor

        here = (Path(checkpoint) / "preprocessor_config.json").exists()  # a folder may hold its own
        source = checkpoint if here or (Path(checkpoint) / "processor_config.json").exists() else PROCESSOR
        processor = pretrained(self.name, AutoProcessor.from_pretrained, source)
        return model_of(self.name, AutoModel, checkpoint, self.device, EXACT), processor

    def value(self, cosine: Tensor) -> Tensor:
        return cosine * self.model.logit_scale.float().exp() / 26
