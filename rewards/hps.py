"""HPSv2.1: human preference, a CLIP-H fine-tuned on HPD v2 (Wu et al. 2023). Value: the cosine, .2 to .35.

The authors' package pins old releases, reloads the weights at every call and defaults to v2.0. Here
their v2.1 file is read into transformers' CLIP by renaming (``from_open_clip``); the sizes come from
the public CLIP-H it was tuned from. Known to favour saturation: watch ``hygiene``.
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from datagen.errors import ModelError
from rewards.base import Card
from rewards.clip import TwoTower
from rewards.pretrained import file_of, precision, pretrained, state_of

if TYPE_CHECKING:
    from PIL import Image

FILE = "HPS_v2.1_compressed.pt"
CLIP_H = "laion/CLIP-ViT-H-14-laion2B-s32B-b79K"

_RENAMES = (
    ("visual.class_embedding", "vision_model.embeddings.class_embedding"),
    ("visual.positional_embedding", "vision_model.embeddings.position_embedding.weight"),
    ("visual.conv1.", "vision_model.embeddings.patch_embedding."),
    ("visual.ln_pre.", "vision_model.pre_layrnorm."),  # transformers' own spelling
    ("visual.ln_post.", "vision_model.post_layernorm."),
    ("visual.transformer.resblocks.", "vision_model.encoder.layers."),
    ("token_embedding.", "text_model.embeddings.token_embedding."),
    ("positional_embedding", "text_model.embeddings.position_embedding.weight"),
    ("transformer.resblocks.", "text_model.encoder.layers."),
    ("ln_final.", "text_model.final_layer_norm."),
)
_INNER = (
    (".ln_1.", ".layer_norm1."),
    (".ln_2.", ".layer_norm2."),
    (".attn.out_proj.", ".self_attn.out_proj."),
    (".mlp.c_fc.", ".mlp.fc1."),
    (".mlp.c_proj.", ".mlp.fc2."),
)


def from_open_clip(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """open_clip's names and fused projections to those of transformers' ``CLIPModel``."""
    out: dict[str, Tensor] = {}
    for key, value in state.items():
        if key in ("text_projection", "visual.proj"):
            out["text_projection.weight" if key == "text_projection" else "visual_projection.weight"] = (
                value.T
            )
            continue
        name = key
        for old, new in _RENAMES:
            if name.startswith(old):
                name = new + name[len(old) :]
                break
        for old, new in _INNER:
            name = name.replace(old, new)
        if match := re.fullmatch(r"(.*)\.attn\.in_proj_(weight|bias)", name):
            for part, piece in zip("qkv", value.chunk(3), strict=True):
                out[f"{match[1]}.self_attn.{part}_proj.{match[2]}"] = piece
        elif name != "attn_mask":  # a buffer that transformers builds itself
            out[name] = value
    return out


class Hps(TwoTower):
    name = "hps"
    card = Card(
        ("prompt", "image"), "cosine, about 0.2 to 0.35", "Apache-2.0", -1.0, 1.0, 4.0, 32, "xswu/HPSv2"
    )

    def __init__(self, base: str = CLIP_H, **options: Any) -> None:
        """``base``: where the sizes, the tokenizer and the preprocessing come from."""
        self.base = base
        super().__init__(**options)

    def load(self, checkpoint: str) -> tuple[Any, Any]:
        from transformers import AutoProcessor, CLIPConfig, CLIPModel

        config = pretrained(self.name, CLIPConfig.from_pretrained, self.base)
        processor = pretrained(self.name, AutoProcessor.from_pretrained, self.base)
        path = file_of(self.name, checkpoint, FILE)
        with torch.device("meta"):
            model = CLIPModel(config)
        model = model.to_empty(device="cpu")
        try:
            missing, unexpected = model.load_state_dict(
                from_open_clip(state_of(self.name, path)), strict=False
            )
        except RuntimeError as error:
            raise ModelError(f"reward 'hps': {path} does not fit {self.base}: {str(error)[:200]}") from error
        wrong = [k for k in missing if "position_ids" not in k] + unexpected
        if wrong:
            raise ModelError(f"reward 'hps': {path} is not HPSv2.1's: {wrong[0]!r} does not match")
        _positions(model)
        return model.to(self.device, precision(self.device)).eval(), processor

    def embed_images(self, images: "Sequence[Image.Image]") -> Tensor:
        """Whole pictures, on black where they are not square, as the authors prepare them: nothing is cropped."""
        return super().embed_images([_squared(image) for image in images])


def _squared(image: "Image.Image") -> "Image.Image":
    from PIL import Image

    side = max(image.size)
    if image.width == image.height:
        return image
    out = Image.new("RGB", (side, side))
    out.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return out


def _positions(model: Any) -> None:
    """The index buffers, which a model built without memory lacks."""
    for tower in (model.text_model, model.vision_model):
        ids = tower.embeddings.position_ids
        tower.embeddings.position_ids = torch.arange(ids.shape[-1]).expand(ids.shape)
