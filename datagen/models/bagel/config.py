"""The configuration of a BAGEL, and the two sizes that are known: pocket and 7B-MoT.

One flat dataclass instead of upstream's four nested configs, which ``upstream.py`` reads and writes.
What upstream leaves to code (``qk_norm``, untied embeddings, ViT layers cut by one) is settled here.
"""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

from datagen.errors import ModelError

Renorm = Literal["none", "global", "channel", "text_channel"]


@dataclass(frozen=True)
class BagelConfig:
    """Sizes, the image codec and the sampler's defaults. Pixels are per side."""

    vocab_size: int = 1024
    hidden_size: int = 192
    intermediate_size: int = 512
    num_layers: int = 6
    num_heads: int = 6
    num_kv_heads: int = 6
    rms_norm_eps: float = 1e-6
    rope_theta: float = 10_000.0
    qkv_bias: bool = True
    # image
    codec: Literal["pixels", "flux"] = "pixels"
    image_size: int = 48
    latent_channels: int = 3
    latent_downsample: int = 1  # codec's reduction: 8 for the FLUX autoencoder
    latent_patch_size: int = 6
    max_latent_size: int = 8  # positions a side
    # flow
    prediction: Literal["velocity", "x"] = "x"
    timestep_shift: float = 3.0
    training_shift: float | None = None  # None: times are drawn with the sampler's shift
    # defaults of the sampler
    cfg: float = 2.5  # upstream's cfg_text: away from the image without the prompt and its trace
    cfg_img: float = 1.0  # away from the image without the trace alone; 1 is off
    cfg_interval: tuple[float, float] = (0.0, 1.0)  # guidance is on where low < t <= high
    cfg_renorm: Renorm = "none"
    cfg_renorm_min: float = 0.0
    steps: int = 12
    temperature: float = 1.0
    max_trace_tokens: int = 96
    condition_dropout: float = 0.1
    think_prompt: str = ""
    batch: int = 0  # candidates generated at once; 0: all that are asked for
    think_tags: bool = False  # a trace stands between <think> and </think>
    # the understanding tower (SigLIP); without layers the model cannot look at images
    vit_layers: int = 0
    vit_hidden_size: int = 1152
    vit_intermediate_size: int = 4304
    vit_heads: int = 16
    vit_patch_size: int = 14
    vit_side: int = 70  # positions a side

    def __post_init__(self) -> None:
        if self.cfg_renorm not in get_args(Renorm):
            raise ModelError(f"cfg_renorm is {self.cfg_renorm!r}; valid: {', '.join(get_args(Renorm))}")

    @property
    def patch_dim(self) -> int:
        return self.latent_channels * self.latent_patch_size**2

    @property
    def pixels_a_token(self) -> int:
        return self.latent_downsample * self.latent_patch_size

    @property
    def latent_side(self) -> int:
        """Image tokens a side."""
        return self.image_size // self.pixels_a_token

    @property
    def image_tokens(self) -> int:
        return self.latent_side**2

    def save(self, folder: Path) -> None:
        (folder / "config.json").write_text(
            json.dumps({"model_type": "bagel", **asdict(self)}, indent=2) + "\n"
        )

    @classmethod
    def load(cls, folder: Path) -> "BagelConfig":
        """Raises ``ModelError`` naming the file and the unknown or missing field."""
        path = folder / "config.json"
        try:
            row: dict[str, Any] = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise ModelError(f"{path}: not a readable model config: {error}") from error
        row.pop("model_type", None)
        return cls.from_fields(row, str(path))

    @classmethod
    def from_fields(cls, row: dict[str, Any], source: str) -> "BagelConfig":
        """Raises ``ModelError`` naming ``source`` and the unknown field."""
        known = {f.name for f in fields(cls)}
        if unknown := sorted(set(row) - known):
            raise ModelError(f"{source}: unknown field {unknown[0]!r}; valid: {', '.join(sorted(known))}")
        row = dict(row)
        if "cfg_interval" in row:
            row["cfg_interval"] = tuple(row["cfg_interval"])
        if isinstance(row.get("cfg_renorm"), bool):  # as older checkpoints have it
            row["cfg_renorm"] = "global" if row["cfg_renorm"] else "none"
        return cls(**row)


POCKET = BagelConfig()

BAGEL_7B = BagelConfig(
    vocab_size=152_064,
    hidden_size=3584,
    intermediate_size=18_944,
    num_layers=28,
    num_heads=28,
    num_kv_heads=4,
    rope_theta=1_000_000.0,
    codec="flux",
    image_size=1024,
    latent_channels=16,
    latent_downsample=8,
    latent_patch_size=2,
    max_latent_size=64,
    prediction="velocity",
    timestep_shift=3.0,
    training_shift=1.0,
    cfg=4.0,
    cfg_interval=(0.4, 1.0),
    cfg_renorm="global",
    steps=49,  # upstream's num_timesteps=50 counts both ends
    temperature=0.3,
    max_trace_tokens=1000,
    think_prompt=(
        "You should first think about the planning process in the mind and then generate the image. \n"
        "The planning process is enclosed within <think> </think> tags, i.e. <think> planning process here "
        "</think> image here"
    ),
    batch=8,
    think_tags=True,
    vit_layers=26,  # upstream's file says 27 and its code takes one off
)
