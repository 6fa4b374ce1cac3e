"""BAGEL behind the protocol: the embedded pocket model and BAGEL-7B-MoT are the same class.

``load("pocket")`` opens the weights that ship in the package; a folder opens a checkpoint that
``save`` wrote (``config.json``, ``tokenizer.json``, ``model.safetensors``).
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from datagen.errors import ModelError
from datagen.models.bagel.config import BagelConfig
from datagen.models.bagel.generate import generate
from datagen.models.bagel.model import Bagel
from datagen.models.bagel.tokenizer import BagelTokenizer
from datagen.models.base import Example, GenerationConfig, UnifiedBatch, UnifiedLoss, UnifiedSample

WEIGHTS = Path(__file__).parent / "weights"


class BagelModel:
    """A ``UnifiedModel``. ``name`` is what the dataset records."""

    def __init__(self, network: Bagel, tokenizer: BagelTokenizer, name: str = "bagel") -> None:
        self.network, self.tokenizer, self.name = network, tokenizer, name
        network.border = (tokenizer.start_of_image, tokenizer.end_of_image)

    @property
    def module(self) -> nn.Module:
        return self.network

    @property
    def config(self) -> BagelConfig:
        return self.network.config

    def generate(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        config: GenerationConfig,
        traces: Sequence[str] | None = None,
    ) -> list[UnifiedSample]:
        return generate(self, prompts, seeds, config, traces)

    def losses(self, batch: UnifiedBatch, generator: torch.Generator | None = None) -> UnifiedLoss:
        return self.network(batch, generator)

    def prompt_ids(self, prompt: str) -> list[int]:
        """The context before the trace: upstream's thinking prompt when there is one, then the prompt."""
        think = self.config.think_prompt
        return (self.tokenizer.block(think) if think else []) + self.tokenizer.block(prompt)

    def collate(self, examples: Sequence[Example]) -> UnifiedBatch:
        """Right-padded tensors. Supervised: the trace, its end, and the opening token after it."""
        tok = self.tokenizer
        rows: list[tuple[list[int], list[int]]] = []
        for example in examples:
            ids = self.prompt_ids(example.prompt)
            labels = [-1] * len(ids)
            if example.trace:
                trace = tok.block(example.trace)
                opening = tok.start_of_image if example.open_image else -1
                labels += [*trace[1:], opening]
                ids = ids + trace
            rows.append((ids, labels))
        length = max(len(ids) for ids, _ in rows)
        input_ids = torch.tensor([ids + [tok.pad] * (length - len(ids)) for ids, _ in rows])
        labels = torch.tensor([row + [-1] * (length - len(row)) for _, row in rows])
        lengths = torch.tensor([len(ids) for ids, _ in rows])
        c = self.config
        side = c.latent_side * c.latent_patch_size
        blank = torch.zeros(c.latent_channels, side, side)
        image = torch.stack(
            [blank if e.image is None else self.encode_image(self.pixels(e.image)[None])[0] for e in examples]
        )
        return UnifiedBatch(
            input_ids=input_ids,
            text_mask=torch.arange(length) < lengths[:, None],
            label_mask=labels >= 0,
            labels=labels,
            image=image,
            image_mask=torch.tensor([e.image is not None for e in examples]),
            text_weight=torch.tensor([e.text_weight for e in examples], dtype=torch.float32),
            image_weight=torch.tensor([e.image_weight for e in examples], dtype=torch.float32),
        )

    def pixels(self, image: Image.Image) -> Tensor:
        """[3, H, W] in [-1, 1], resized to the model's size."""
        size = self.config.image_size
        rgb = image.convert("RGB")
        if rgb.size != (size, size):
            rgb = rgb.resize((size, size), Image.Resampling.LANCZOS)
        return torch.from_numpy(np.asarray(rgb).copy()).permute(2, 0, 1).float() / 127.5 - 1

    def encode_image(self, pixels: Tensor) -> Tensor:
        if self.config.codec == "pixels":
            return pixels
        raise ModelError(f"codec {self.config.codec!r} has no encoder here; valid: pixels")

    def decode_image(self, representation: Tensor) -> Tensor:
        if self.config.codec == "pixels":
            return representation.clamp(-1, 1)
        raise ModelError(f"codec {self.config.codec!r} has no decoder here; valid: pixels")

    def save(self, folder: str) -> None:
        """Write config, tokenizer and weights, the weights in the dtype they have."""
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        self.config.save(path)
        self.tokenizer.save(path)
        state = {k: v.detach().cpu().contiguous() for k, v in self.network.state_dict().items()}
        save_file(state, path / "model.safetensors", metadata={"format": "pt"})


def load(name: str, device: str = "cpu") -> BagelModel:
    """``pocket`` or a checkpoint folder. Weights are used in float32 on the CPU.

    Raises ``ModelError`` naming the file when it is missing, torn or of another shape.
    """
    folder = WEIGHTS if name == "pocket" else Path(name)
    config = BagelConfig.load(folder)
    tokenizer = BagelTokenizer.load(folder)
    path = folder / "model.safetensors"
    network = Bagel(config)
    try:
        state = load_file(path)
        network.load_state_dict({k: v.float() for k, v in state.items()} if device == "cpu" else state)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise ModelError(f"{path}: cannot be loaded: {str(error).splitlines()[0]}") from error
    return BagelModel(network.to(device).eval(), tokenizer, name)
