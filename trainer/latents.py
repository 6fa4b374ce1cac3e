"""Pictures encoded once, before training, into a file beside the trainer's state: no autoencoder runs in a step.

One memory-mapped array, a row a picture, in the representation the model trains on; the processes of a
launch encode a stripe each. It is taken up again on resume, and made anew for other data. Left out: models
that train on pixels, which have nothing to encode, and latents in the dataset itself, which would tie it to
one model.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

if TYPE_CHECKING:
    from datasets import Dataset

    from datagen.models.base import UnifiedModel

BATCH = 16
STORED = {torch.bfloat16: torch.float32}  # numpy has no bfloat16


class Latents:
    """The encoded pictures of a dataset's rows. Call it with a row that ``numbered`` gave its place."""

    def __init__(self, folder: Path, key: str) -> None:
        self.array, self.told = folder / "latents.npy", folder / "latents.json"
        self.key, self.rows = key, np.empty(0)

    def __call__(self, row: Mapping[str, Any]) -> Tensor:
        return torch.from_numpy(np.array(self.rows[row["place"]]))

    def make(self, rows: "Dataset", model: "UnifiedModel", progress: Any) -> None:
        """Encode what ``rows`` show, unless it stands already. Raises ``OSError`` when the disk is full."""
        rank, size = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        if not self._stands(len(rows)):
            first = self._encode(rows, [0], model)[0]
            if rank == 0:
                self.told.unlink(missing_ok=True)
                np.lib.format.open_memmap(self.array, "w+", first.dtype, (len(rows), *first.shape)).flush()
            self._wait()
            file = np.lib.format.open_memmap(self.array, "r+")
            mine = list(range(rank, len(rows), size))
            for start in range(0, len(mine), BATCH):
                places = mine[start : start + BATCH]
                file[places] = self._encode(rows, places, model)
                progress("latents", min(len(rows), (start + BATCH) * size), len(rows))
            file.flush()
            self._wait()
            if rank == 0:
                self.told.write_text(json.dumps({"key": self.key, "rows": len(rows)}))
            self._wait()
        self.rows = np.load(self.array, mmap_mode="r")

    def _stands(self, count: int) -> bool:
        try:
            return json.loads(self.told.read_text()) == {"key": self.key, "rows": count}
        except (OSError, ValueError):
            return False

    @staticmethod
    def _encode(rows: "Dataset", places: Sequence[int], model: Any) -> np.ndarray:
        """[places, ...]; a row without a picture has the zeros of one."""
        images = [rows[i]["image"] for i in places]
        with torch.inference_mode():
            made = [None if image is None else model.represent(image).cpu() for image in images]
        some = next((m for m in made if m is not None), None)
        if some is None:
            some = model.represent(_blank())
        kept = [torch.zeros_like(some) if m is None else m for m in made]
        stack = torch.stack(kept)
        return stack.to(STORED.get(stack.dtype, stack.dtype)).numpy()

    @staticmethod
    def _wait() -> None:
        if dist.is_initialized():
            dist.barrier()


def _blank() -> Any:
    from PIL import Image

    return Image.new("RGB", (8, 8))


def numbered(rows: "Dataset") -> "Dataset":
    """Rows that know their place, and whose pictures are not decoded any more."""
    from datasets import Image

    return rows.cast_column("image", Image(decode=False)).add_column("place", list(range(len(rows))))
