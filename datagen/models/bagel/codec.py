"""The FLUX autoencoder that BAGEL draws with: diffusers' ``AutoencoderKL`` under upstream's file.

``ae.safetensors`` holds the original names; diffusers converts them, and ``upstream_names`` turns them
back, so that what is saved is again upstream's file. Sizes are read from the tensors. Frozen, and
deterministic: an image becomes the mean of its posterior, where upstream's trainer draws from it.
"""

import re
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from datagen.errors import ModelError

FILE = "ae.safetensors"
SCALE, SHIFT = 0.3611, 0.1159


class FluxCodec:
    """Pixels [B, 3, H, W] in [-1, 1] to latents [B, C, H / downsample, W / downsample] and back."""

    def __init__(self, vae: Any, source: Path | None = None) -> None:
        self.vae, self.source = vae.eval().requires_grad_(False), source

    @property
    def downsample(self) -> int:
        return 2 ** (len(self.vae.config.block_out_channels) - 1)

    @torch.no_grad()
    def encode(self, pixels: Tensor) -> Tensor:
        p = next(self.vae.parameters())
        mean = self.vae.encode(pixels.to(p.device, p.dtype)).latent_dist.mode()
        return ((mean - SHIFT) * SCALE).float()

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        p = next(self.vae.parameters())
        return self.vae.decode((latents / SCALE + SHIFT).to(p.device, p.dtype)).sample.float().clamp(-1, 1)

    def save(self, folder: Path) -> None:
        """The file it came from, which a GPU holds rounded; else its tensors."""
        if self.source is not None and self.source.is_file():
            if not ((folder / FILE).exists() and self.source.samefile(folder / FILE)):
                shutil.copyfile(self.source, folder / FILE)
            return
        levels = len(self.vae.config.block_out_channels)
        save_file(upstream_names(self.vae.state_dict(), levels), folder / FILE, metadata={"format": "pt"})


def autoencoder(channels: list[int], layers: int, latent_channels: int) -> Any:
    """An untrained ``AutoencoderKL`` of FLUX's shape: no quantisation layers, attention in the middle."""
    from diffusers import AutoencoderKL

    n = len(channels)
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * n,
        up_block_types=("UpDecoderBlock2D",) * n,
        block_out_channels=tuple(channels),
        layers_per_block=layers,
        latent_channels=latent_channels,
        scaling_factor=SCALE,
        shift_factor=SHIFT,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )


def load_codec(path: Path, device: str = "cpu") -> FluxCodec:
    """Raises ``ModelError`` naming the file when it is missing or is not such an autoencoder."""
    from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint

    try:
        state = load_file(path)
        n = 1 + max(int(m[1]) for k in state if (m := re.match(r"encoder\.down\.(\d+)\.", k)))
        channels = [state[f"encoder.down.{i}.block.0.conv2.weight"].shape[0] for i in range(n)]
        layers = sum(bool(re.match(r"encoder\.down\.0\.block\.\d+\.conv1\.weight", k)) for k in state)
        vae = autoencoder(channels, layers, state["decoder.conv_in.weight"].shape[1])
        vae.load_state_dict(convert_ldm_vae_checkpoint(state, vae.config))
    except (OSError, SafetensorError, RuntimeError, ValueError, KeyError) as error:
        raise ModelError(f"{path}: not FLUX's autoencoder: {str(error).splitlines()[0]}") from error
    return FluxCodec(vae.to(device) if device == "cpu" else vae.to(device, torch.bfloat16), path)


RENAMES = (  # diffusers -> upstream, in this order; the decoder's levels are counted from the other end
    (r"down_blocks\.(\d+)\.resnets\.(\d+)\.", r"down.\1.block.\2."),
    (r"down_blocks\.(\d+)\.downsamplers\.0\.", r"down.\1.downsample."),
    (r"up_blocks\.(\d+)\.resnets\.(\d+)\.", r"up.\1.block.\2."),
    (r"up_blocks\.(\d+)\.upsamplers\.0\.", r"up.\1.upsample."),
    (r"mid_block\.resnets\.0\.", "mid.block_1."),
    (r"mid_block\.resnets\.1\.", "mid.block_2."),
    (r"mid_block\.attentions\.0\.group_norm\.", "mid.attn_1.norm."),
    (r"mid_block\.attentions\.0\.to_out\.0\.", "mid.attn_1.proj_out."),
    (r"mid_block\.attentions\.0\.to_([qkv])\.", r"mid.attn_1.\1."),
    (r"\.conv_shortcut\.", ".nin_shortcut."),
    (r"\.conv_norm_out\.", ".norm_out."),
)


def upstream_names(state: dict[str, Tensor], levels: int) -> dict[str, Tensor]:
    """A diffusers autoencoder's tensors under the names, and in the shapes, of ``ae.safetensors``."""
    out = {}
    for name, tensor in state.items():
        for pattern, to in RENAMES:
            name = re.sub(pattern, to, name)
        name = re.sub(r"^decoder\.up\.(\d+)\.", lambda m: f"decoder.up.{levels - 1 - int(m[1])}.", name)
        if re.search(r"attn_1\.(q|k|v|proj_out)\.weight$", name):
            tensor = tensor[:, :, None, None]  # upstream's attention is 1x1 convolutions
        out[name] = tensor.detach().cpu().contiguous()
    return out
