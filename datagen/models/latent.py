"""What a model drew before its decoder, as bytes of the dataset: trained on again without an encoder.

One safetensors file a picture, so that its shape and type are in it, with the digest of the codec that it
belongs to; ``safetensors.torch.load`` opens it anywhere. Floats are kept as float16, half the room: its
rounding (one in 2,000) is far under what the way through a PNG and an encoder costs. Left out: a latent of
another codec is none at all, since the spaces of two autoencoders have nothing in common.
"""

import hashlib
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn

NAME = "latent"


def pack(representation: "Tensor", codec: str) -> bytes:
    """The same bytes for the same values."""
    import torch
    from safetensors.torch import save

    kept = representation.detach().cpu()
    kept = kept.to(torch.float16) if kept.is_floating_point() else kept
    return save({NAME: kept.contiguous()}, {"codec": codec})


def unpack(data: bytes, codec: str, like: "Tensor") -> "Tensor | None":
    """The representation in the type of ``like``; None if another codec or another size drew it, or it is torn."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + length])
        found = load(data)[NAME]
    except (SafetensorError, ValueError, KeyError):
        return None
    same = header.get("__metadata__", {}).get("codec") == codec and found.shape == like.shape
    return found.to(like.dtype) if same and found.is_floating_point() == like.is_floating_point() else None


def identity(codec: "nn.Module") -> str:
    """16 hex digits of an autoencoder's weights, rounded to bfloat16: a CPU's copy and a GPU's are the same."""
    import torch

    sha = hashlib.sha256()
    for name, tensor in sorted(codec.state_dict().items()):
        kept = tensor.detach().to("cpu", torch.bfloat16).contiguous()
        sha.update(f"{name}{tuple(kept.shape)}".encode())
        sha.update(kept.view(torch.int16).numpy().tobytes())
    return sha.hexdigest()[:16]
