"""A model that costs nothing: for tests of the journey, and for measuring orchestration alone.

It parses the prompt, lays it out and draws it at once; by its seed a third of its pictures are
wrong. It opens its image itself, unless it is asked to draw without a trace. Its "network" is two numbers, so that the trainer has something to move.
"""

import random
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from datagen.errors import ModelError
from datagen.models.base import Example, GenerationConfig, UnifiedBatch, UnifiedLoss, UnifiedSample
from datagen.prompts import parse_prompt
from datagen.sample import Clause, Target
from datagen.scenes.draw import draw_layout
from datagen.scenes.layout import format_layout, layout_for, parse_layout
from datagen.targets import VOCABULARIES

WEIGHTS = "fake.safetensors"


class FakeModel:
    name = "fake"

    def __init__(self) -> None:
        self.network = nn.ParameterDict(
            {"text": nn.Parameter(torch.zeros(())), "image_moe_gen": nn.Parameter(torch.zeros(()))}
        )

    @property
    def module(self) -> nn.Module:
        return self.network

    def generate(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        config: GenerationConfig,
        traces: Sequence[str] | None = None,
    ) -> list[UnifiedSample]:
        given = traces if traces is not None else [None] * len(prompts)
        thinks = config.trace != "none"
        return [self._one(p, s, t, thinks) for p, s, t in zip(prompts, seeds, given, strict=True)]

    def _one(self, prompt: str, seed: int, trace: str | None, thinks: bool) -> UnifiedSample:
        rng = random.Random(f"{prompt}/{seed}")
        clauses, _ = parse_prompt(prompt, VOCABULARIES["scenes"])
        if clauses is None or rng.random() < 1 / 3:
            clauses = (Clause(rng.choice(tuple(VOCABULARIES["scenes"].classes))),)
        placed = parse_layout(trace) if trace else layout_for(Target("fake", clauses), rng)
        image = Image.fromarray(draw_layout(placed or [], rng))
        if not thinks:
            return UnifiedSample(prompt, "", torch.zeros(0), image, None, "forced")
        said = trace if trace is not None else format_layout(placed or [])
        return UnifiedSample(prompt, said, torch.zeros(0), image, None, "model")

    def collate(self, examples: Sequence[Example]) -> UnifiedBatch:
        n = len(examples)
        ids = torch.zeros(n, 1, dtype=torch.long)
        real = torch.ones(n, 1, dtype=torch.bool)
        return UnifiedBatch(
            ids, real, real, ids, torch.zeros(n, 1), torch.ones(n, dtype=torch.bool),
            torch.tensor([e.text_weight for e in examples], dtype=torch.float32),
            torch.tensor([e.image_weight for e in examples], dtype=torch.float32),
        )  # fmt: skip

    def losses(self, batch: UnifiedBatch, generator: torch.Generator | None = None) -> UnifiedLoss:
        ones = torch.ones(len(batch.input_ids))
        text = (self.network["text"] - 1) ** 2 * ones
        image = (self.network["image_moe_gen"] - 1) ** 2 * ones
        loss = (batch.text_weight * text).mean() + (batch.image_weight * image).mean()
        return UnifiedLoss(loss, text, image, torch.zeros_like(text))

    def encode_image(self, pixels: Tensor) -> Tensor:
        return pixels

    def decode_image(self, representation: Tensor) -> Tensor:
        return representation

    def save(self, folder: str) -> None:
        Path(folder).mkdir(parents=True, exist_ok=True)
        save_file(self.network.state_dict(), Path(folder) / WEIGHTS)
        (Path(folder) / "config.json").write_text('{"model_type": "fake"}\n')


def load(name: str, device: str = "cpu") -> FakeModel:
    """A new model, or the one saved in the folder ``name``. Raises ``ModelError`` if that is damaged."""
    model = FakeModel()
    path = Path(name) / WEIGHTS
    if path.parent.is_dir() and name != FakeModel.name:
        try:
            model.network.load_state_dict(load_file(path))
        except (OSError, SafetensorError, RuntimeError) as error:
            raise ModelError(f"{path}: missing or damaged: {str(error).splitlines()[0]}") from error
    return model
