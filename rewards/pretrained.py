"""Loading what other people trained: device, precision, and one-line errors for what is not there.

Everything goes through ``from_pretrained`` of transformers: a Hub name or a folder, safetensors,
``HF_HUB_OFFLINE`` respected. 32-bit on a CPU; on a GPU 16-bit, heads and scales apart.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from datagen.errors import ModelError

T = TypeVar("T")


def device_for(device: str | None) -> torch.device:
    """The named device, or the GPU if there is one."""
    return torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))


def precision(device: torch.device) -> torch.dtype:
    return torch.bfloat16 if device.type == "cuda" else torch.float32


def pretrained(reward: str, load: Callable[..., T], checkpoint: str, **options: Any) -> T:
    """``load(checkpoint, **options)``. Raises ``ModelError`` naming reward and checkpoint."""
    try:
        return load(checkpoint, **options)
    except (OSError, ValueError, RuntimeError, ImportError, KeyError) as error:
        why = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise ModelError(f"reward {reward!r}: checkpoint {checkpoint!r} cannot be loaded: {why}") from error


def model_of(
    reward: str, kind: Any, checkpoint: str, device: torch.device, exact: tuple[str, ...] = ()
) -> Any:
    """A transformers model for inference on ``device``, but for the parts named in ``exact`` in its precision."""
    dtype = torch.float32 if exact else precision(device)
    model = pretrained(reward, kind.from_pretrained, checkpoint, dtype=dtype)
    return placed(model, device, exact) if exact else model.to(device).eval()


def placed(model: nn.Module, device: torch.device, exact: tuple[str, ...]) -> Any:
    """A float32 ``model`` for inference on ``device``: what is named in ``exact`` stays as it is.

    Heads and scales: rounded to 16 bits they would round the score, to 1/32 of a point of an aesthetic one.
    """
    for name, p in model.named_parameters():
        if not name.startswith(exact):
            p.data = p.data.to(precision(device))
    return model.to(device).eval()


def file_of(reward: str, checkpoint: str, name: str) -> Path:
    """The file ``name`` of a folder or a Hub repository."""
    folder = Path(checkpoint)
    if folder.is_dir():
        path = folder / name
        if not path.is_file():
            raise ModelError(f"reward {reward!r}: {path} is missing")
        return path
    from huggingface_hub import hf_hub_download

    return Path(pretrained(reward, hf_hub_download, checkpoint, filename=name))


def state_of(reward: str, path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a safetensors or torch file; torch files are read without executing anything."""
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle, zip and safetensors each raise their own
        raise ModelError(f"reward {reward!r}: {path} is damaged: {str(error).splitlines()[0]}") from error
    return state.get("state_dict", state)


def distinct(items: Iterable[str]) -> tuple[list[str], list[int]]:
    """The distinct items in order, and for each item its place among them: a group shares its prompt."""
    places: dict[str, int] = {}
    index = [places.setdefault(item, len(places)) for item in items]
    return list(places), index


def chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """``items`` in pieces of at most ``size``."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
