"""Pictures encoded once, before training, into a file beside the trainer's state: no autoencoder runs in a step.

One memory-mapped array, a row a picture, in the representation the model trains on; the processes of a
launch encode a stripe each. It is taken up again on resume, and made anew for other pictures and for a model
that encodes otherwise: its name, and its codec's digest or what it makes of one known picture, are in the key.
What a model drew itself lies in the dataset before decoding, and is taken from there where the codec is the
same: then nothing is encoded at all. Left out: models that train on pixels, which have nothing to encode.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from datagen.dataset import LATENT
from datagen.models.base import Example
from datagen.models.latent import unpack

if TYPE_CHECKING:
    from datasets import Dataset

    from datagen.models.base import UnifiedModel

BATCH = 16
STORED = {torch.bfloat16: torch.float32}  # numpy has no bfloat16


class Latents:
    """The encoded pictures of a dataset's rows. Call it with a row that ``numbered`` gave its place."""

    def __init__(self, folder: Path) -> None:
        self.array, self.told = folder / "latents.npy", folder / "latents.json"
        self.rows = np.empty(0)

    def __call__(self, row: Mapping[str, Any]) -> Tensor:
        return torch.from_numpy(np.array(self.rows[row["place"]]))

    def make(
        self, rows: "Dataset", model: "UnifiedModel", progress: Any, device: torch.device | str | None = None
    ) -> None:
        """Encode what ``rows`` show, unless it stands already; on ``device``, by default where the model is.

        Raises ``OSError`` when the disk is full.
        """
        rank, size = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        with moved(model, device):
            like = _like(model)
            probe = _encoded([_probe()] if like is None else [like], model, None)[0]
            drawn = Drawn(rows, model, like)
            key = describe(rows, model, probe) if rank == 0 else {}
            if not _agreed(self._stands(key)):
                if rank == 0:
                    self.told.unlink(missing_ok=True)
                    np.lib.format.open_memmap(
                        self.array, "w+", probe.dtype, (len(rows), *probe.shape)
                    ).flush()
                _wait()
                file = np.lib.format.open_memmap(self.array, "r+")
                mine = list(range(rank, len(rows), size))
                for start in range(0, len(mine), BATCH):
                    places = mine[start : start + BATCH]
                    file[places] = _encoded([drawn(i) for i in places], model, probe)
                    progress("latents", min(len(rows), (start + BATCH) * size), len(rows))
                file.flush()
                _wait()
                if rank == 0:
                    self.told.write_text(json.dumps(key))
                _wait()
        self.rows = np.load(self.array, mmap_mode="r")

    def _stands(self, key: dict[str, Any]) -> bool:
        try:
            return json.loads(self.told.read_text()) == key
        except (OSError, ValueError):
            return False


class Drawn:
    """What is trained on of a row: what the model drew, where the dataset kept that, or the picture to encode."""

    def __init__(self, rows: "Dataset", model: "UnifiedModel", like: Tensor | None) -> None:
        self.rows, self.like, self.codec = rows, like, getattr(model, "codec_id", "")
        known = like is not None and LATENT in rows.column_names
        self.kept = rows.select_columns(LATENT) if known else None

    def __call__(self, place: int) -> Any:
        data = None if self.kept is None else self.kept[place][LATENT]
        own = None if not data or self.like is None else unpack(data, self.codec, self.like)
        return self.rows[place]["image"] if own is None else own


def _like(model: Any) -> Tensor | None:
    """Zeros in the shape of one picture's representation, of a model that says which codec it has."""
    return model.collate([Example("", "", None)]).image[0] if getattr(model, "codec_id", "") else None


def describe(rows: "Dataset", model: "UnifiedModel", probe: np.ndarray) -> dict[str, Any]:
    """What latents depend on: the encoder, by name and by what it makes of one picture, and all pictures."""
    pictures = hashlib.sha256()
    shown = ["image", *(name for name in rows.column_names if name == LATENT)]
    for row in _undecoded(rows).select_columns(shown):
        image = row["image"]
        data = b"" if image is None else image["bytes"] or Path(image["path"]).read_bytes()
        pictures.update(hashlib.sha256(data).digest() + hashlib.sha256(row.get(LATENT) or b"").digest())
    return {
        "model": model.name,
        "shape": list(probe.shape),
        "dtype": str(probe.dtype),
        "probe": getattr(model, "codec_id", "") or hashlib.sha256(probe.tobytes()).hexdigest(),
        "pictures": pictures.hexdigest(),
        "rows": len(rows),
    }


def _encoded(images: Sequence[Any], model: Any, like: np.ndarray | None) -> np.ndarray:
    """[images, ...]; None has the zeros of ``like``."""
    with torch.inference_mode():
        made = [None if image is None else model.represent(image).cpu() for image in images]
    stored = [None if m is None else m.to(STORED.get(m.dtype, m.dtype)).numpy() for m in made]
    return np.stack([np.zeros_like(like) if s is None else s for s in stored])


@contextmanager
def moved(model: "UnifiedModel", device: torch.device | str | None) -> Iterator[None]:
    """The model's autoencoder on ``device`` for a while: before sharding the rest is in main memory."""
    codec = getattr(model, "codec", None)
    module = getattr(codec, "vae", codec)
    if device is None or not isinstance(module, nn.Module):
        yield
        return
    home = next(module.parameters()).device
    module.to(device)
    try:
        yield
    finally:
        module.to(home)


def _agreed(stands: bool) -> bool:
    """The first process' answer, in every process."""
    if not dist.is_initialized():
        return stands
    answer = [stands]
    dist.broadcast_object_list(answer)
    return answer[0]


def _wait() -> None:
    if dist.is_initialized():
        dist.barrier()


def _probe() -> Any:
    """A picture with every grey in it."""
    from PIL import Image

    return Image.radial_gradient("L").convert("RGB")


def _undecoded(rows: "Dataset") -> "Dataset":
    from datasets import Image

    return rows.cast_column("image", Image(decode=False))


def numbered(rows: "Dataset") -> "Dataset":
    """Rows that know their place, and whose pictures are not decoded any more."""
    rows = rows.remove_columns([name for name in rows.column_names if name == LATENT])
    return _undecoded(rows).add_column("place", list(range(len(rows))))
