"""ImageReward v1.0 (Xu et al. 2023): a BLIP that reads prompt and picture together, and a small head.

The authors' package pins transformers of 2023. Here the layers are transformers' own BLIP modules and
``from_blip`` renames the authors' weights. The prompt is cut at 35 tokens, as in training. Value: their
z-score, about -2 to 2, so combine it by rank or z-score.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from datagen.errors import ModelError
from datagen.sample import Sample, Score
from rewards.base import Card, readable
from rewards.batches import score_images
from rewards.pretrained import device_for, distinct, file_of, placed, precision, pretrained, state_of

if TYPE_CHECKING:
    from PIL.Image import Image

FILE = "ImageReward.pt"
TOKENIZER = "google-bert/bert-base-uncased"
TOKENS = 35
MEAN, STD = 0.16717362830052426, 1.0333394966054072  # of the raw output over the authors' data
SIZES: dict[str, Any] = {  # BLIP large, as ImageReward uses it
    "text": {"vocab_size": 30524, "encoder_hidden_size": 1024},
    "vision": {
        "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16,
        "image_size": 224, "patch_size": 16, "layer_norm_eps": 1e-6,
    },
    "head": (1024, 128, 64, 16, 1),
}  # fmt: skip

_VISION = (
    ("cls_token", "embeddings.class_embedding"),
    ("pos_embed", "embeddings.position_embedding"),
    ("patch_embed.proj.", "embeddings.patch_embedding."),
    ("blocks.", "encoder.layers."),
    ("norm.", "post_layernorm."),
)
_BLOCK = ((".norm1.", ".layer_norm1."), (".norm2.", ".layer_norm2."), (".attn.qkv.", ".self_attn.qkv."),
          (".attn.proj.", ".self_attn.projection."))  # fmt: skip


def from_blip(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The authors' names to those of ``ImageRewardNet``; what the score does not use is left out."""
    out = {}
    for key, value in state.items():
        if key.startswith("mlp."):
            out[key] = value
        elif key.startswith("blip.text_encoder.") and not key.endswith("position_ids"):
            out["text." + key.removeprefix("blip.text_encoder.")] = value
        elif key.startswith("blip.visual_encoder."):
            name = key.removeprefix("blip.visual_encoder.")
            for old, new in _VISION:
                if name.startswith(old):
                    name = new + name[len(old) :]
                    break
            for old, new in _BLOCK:
                name = name.replace(old, new)
            out[f"vision.{name}"] = value
    return out


class ImageRewardNet(nn.Module):
    """Pixels [B, 3, H, W] and tokens [B, 35] to [B] z-scores."""

    def __init__(self, sizes: dict[str, Any] = SIZES) -> None:
        super().__init__()
        from transformers import BlipTextConfig, BlipVisionConfig, BlipVisionModel
        from transformers.models.blip.modeling_blip_text import BlipTextModel

        text = BlipTextConfig(**sizes["text"])
        self.vision = BlipVisionModel(BlipVisionConfig(**sizes["vision"]))
        self.text = BlipTextModel(text, add_pooling_layer=False)
        widths = (text.hidden_size, *sizes["head"])
        layers: list[nn.Module] = []
        for i, (inner, outer) in enumerate(pairwise(widths)):
            layers.append(nn.Linear(inner, outer))
            if i < 3:  # the dropouts keep their places, for the names of the weights
                layers.append(nn.Dropout(0.2))
        self.mlp = nn.ModuleDict({"layers": nn.Sequential(*layers)})

    def forward(self, pixels: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
        seen = self.vision(pixels).last_hidden_state
        read = self.text(
            input_ids=ids,
            attention_mask=mask,
            encoder_hidden_states=seen,
            encoder_attention_mask=torch.ones(seen.shape[:-1], dtype=torch.long, device=seen.device),
        ).last_hidden_state[:, 0]
        return (self.mlp["layers"](read.float())[:, 0] - MEAN) / STD


class ImageReward:
    name = "image_reward"
    heldout = False
    card = Card(
        ("prompt", "image"), "z-score, about -2 to 2", "Apache-2.0", None, None, 2.5, 32, "THUDM/ImageReward"
    )

    def __init__(
        self,
        checkpoint: str | None = None,
        tokenizer: str = TOKENIZER,
        sizes: dict[str, Any] | None = None,
        device: str | None = None,
        batch_size: int | None = None,
    ) -> None:
        from transformers import AutoTokenizer, CLIPImageProcessor

        self.device, self.batch_size = device_for(device), batch_size or self.card.batch_size
        self.tokenizer = pretrained(self.name, AutoTokenizer.from_pretrained, tokenizer)
        path = file_of(self.name, checkpoint or self.card.checkpoint, FILE)
        self.net = ImageRewardNet(sizes or SIZES)
        side = self.net.vision.config.image_size
        self.processor = CLIPImageProcessor(
            size={"shortest_edge": side}, crop_size={"height": side, "width": side}
        )
        try:
            missing, unexpected = self.net.load_state_dict(from_blip(state_of(self.name, path)), strict=False)
        except RuntimeError as error:
            raise ModelError(f"reward 'image_reward': {path} does not fit: {str(error)[:200]}") from error
        if wrong := [k for k in missing if "position_ids" not in k] + unexpected:
            raise ModelError(f"reward 'image_reward': {path} is not ImageReward's: {wrong[0]!r}")
        self.net = placed(self.net, self.device, ("mlp.",))

    def score(self, samples: Sequence[Sample]) -> list[Score]:
        return score_images(self.name, self.card, samples, self._judge, self.batch_size)

    @torch.inference_mode()
    def _judge(self, images: "list[Image]", samples: list[Sample]) -> list[Score]:
        prompts, index = distinct(readable(s.prompt) for s in samples)
        text = self.tokenizer(
            prompts, padding="max_length", truncation=True, max_length=TOKENS, return_tensors="pt"
        )
        pixels = self.processor(images=images, return_tensors="pt")["pixel_values"]
        values = self.net(
            pixels.to(self.device, precision(self.device)),
            text["input_ids"][index].to(self.device),
            text["attention_mask"][index].to(self.device),
        )
        return [Score(self.name, v) for v in values.tolist()]
