"""BAGEL behind the protocol: the embedded pocket model and BAGEL-7B-MoT are the same class.

``load("pocket")`` opens the weights that ship in the package; ``load("bagel")`` BAGEL-7B-MoT from the
Hub; a folder or a Hub id opens what it holds, either a checkpoint of our own (``config.json``,
``tokenizer.json``, ``model.safetensors``) or one in upstream's files, and ``save`` writes it back the
same way.
"""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from datagen.errors import ModelError
from datagen.models import hub, latent, options
from datagen.models.bagel import upstream, vision
from datagen.models.bagel.codec import FILE as CODEC
from datagen.models.bagel.codec import FluxCodec, load_codec
from datagen.models.bagel.config import BagelConfig
from datagen.models.bagel.generate import generate
from datagen.models.bagel.model import Bagel
from datagen.models.bagel.tokenizer import BagelTokenizer
from datagen.models.base import Example, GenerationConfig, UnifiedBatch, UnifiedLoss, UnifiedSample
from datagen.models.sampling import in_batches

WEIGHTS = Path(__file__).parent / "weights"
HUB = "ByteDance-Seed/BAGEL-7B-MoT"
FLOAT_ON_CPU = 2_000_000_000  # parameters: below this a CPU holds float32, above what is stored


class BagelModel:
    """A ``UnifiedModel``. ``name`` is what the dataset records."""

    def __init__(
        self,
        network: Bagel,
        tokenizer: BagelTokenizer,
        name: str = "bagel",
        codec: FluxCodec | None = None,
        files: dict[str, bytes] | None = None,
        drawing: torch.dtype | None = None,
    ) -> None:
        """``codec`` is needed unless the model draws pixels; ``files``: upstream's small files, to save;
        ``drawing``: the dtype to generate in, None as the weights are."""
        self.network, self.tokenizer, self.name = network, tokenizer, name
        self.codec, self.files, self.drawing = codec, files or {}, drawing
        think = network.config.think_prompt
        self.think_ids = tokenizer.block(think) if think else []
        network.border = (tokenizer.start_of_image, tokenizer.end_of_image)
        network.think = tuple(self.think_ids)
        self._check()

    def _check(self) -> None:
        c = self.config
        if c.image_size % c.pixels_a_token or c.latent_side > c.max_latent_size:
            limit = c.max_latent_size * c.pixels_a_token
            raise ModelError(
                f"{self.name}: image_size is {c.image_size}; valid: multiples of {c.pixels_a_token} up to {limit}"
            )
        if (c.codec == "flux") != (self.codec is not None):
            raise ModelError(
                f"{self.name}: codec {c.codec!r} {'needs' if c.codec == 'flux' else 'has no'} autoencoder"
            )
        if self.codec is not None and self.codec.downsample != c.latent_downsample:
            raise ModelError(
                f"{self.name}: the autoencoder reduces by {self.codec.downsample}, the config says {c.latent_downsample}"
            )

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
        drawer = self
        if self.drawing:  # a copy, since the weights may be in training
            copied = copy.deepcopy(self.network).to(self.drawing)
            drawer = BagelModel(copied, self.tokenizer, self.name, self.codec)
        return in_batches(drawer, generate, self.config.batch, prompts, seeds, config, traces)

    def losses(self, batch: UnifiedBatch, generator: torch.Generator | None = None) -> UnifiedLoss:
        return self.network(batch, generator)

    def answer(
        self, images: Sequence[Image.Image], questions: Sequence[str], expected: Sequence[str]
    ) -> list[float]:
        """The probability the model gives each expected answer about its image; see ``vision.answer``."""
        return vision.answer(self, images, questions, expected)

    def prompt_ids(self, prompt: str, thinks: bool = True) -> list[int]:
        """The context before the trace: the thinking prompt if it is to think, then the prompt."""
        return (self.think_ids if thinks else []) + self.tokenizer.block(prompt)

    def tagged(self, trace: str) -> str:
        """A trace as the model writes it; one that it wrote itself already is."""
        if not self.config.think_tags or "<think>" in trace:
            return trace
        return f"<think>\n{trace.strip()}\n</think>"

    def collate(self, examples: Sequence[Example]) -> UnifiedBatch:
        """Right-padded tensors. Supervised: the trace, its end, and the opening token after it."""
        tok = self.tokenizer
        rows: list[tuple[list[int], list[int]]] = []
        for example in examples:
            ids = self.prompt_ids(example.prompt, bool(example.trace))
            labels = [-1] * len(ids)
            if example.trace:
                trace = tok.block(self.tagged(example.trace))
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
        image = torch.stack([blank if e.image is None else self.represent(e.image) for e in examples])
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

    @property
    def encodes(self) -> bool:
        """Whether a picture costs an autoencoder before it is trained on."""
        return self.codec is not None

    @cached_property
    def codec_id(self) -> str:
        return "" if self.codec is None else latent.identity(self.codec.vae)

    def represent(self, image: Image.Image | Tensor) -> Tensor:
        """What is trained on of one picture, [C, h, w]; a tensor is that already."""
        return image if isinstance(image, Tensor) else self.encode_image(self.pixels(image)[None])[0]

    def pixels(self, image: Image.Image) -> Tensor:
        """[3, H, W] in [-1, 1], resized to the model's size."""
        size = self.config.image_size
        rgb = image.convert("RGB")
        if rgb.size != (size, size):
            rgb = rgb.resize((size, size), Image.Resampling.LANCZOS)
        return torch.from_numpy(np.asarray(rgb).copy()).permute(2, 0, 1).float() / 127.5 - 1

    def encode_image(self, pixels: Tensor) -> Tensor:
        return pixels if self.codec is None else self.codec.encode(pixels).to(pixels.device)

    def decode_image(self, representation: Tensor) -> Tensor:
        if self.codec is None:
            return representation.clamp(-1, 1)
        return self.codec.decode(representation).to(representation.device)

    def save(self, folder: str) -> None:
        """Write config, tokenizer and weights, the weights in the dtype they have."""
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        if self.codec is not None:
            upstream.write(self, path)
            return
        self.config.save(path)
        self.tokenizer.save(path)
        state = {k: v.detach().cpu().contiguous() for k, v in self.network.state_dict().items()}
        save_file(state, path / "model.safetensors", metadata={"format": "pt"})


def load(name: str, device: str = "cpu", **chosen: Any) -> BagelModel:
    """``pocket``, ``bagel``, a checkpoint folder or a Hub id; ``chosen`` overrides fields of the config.

    A CPU holds small models in float32; large ones, and a GPU, as they are stored. Raises
    ``ModelError`` naming the file when it is missing, torn or of another shape.
    """
    folder = WEIGHTS if name == "pocket" else hub.fetch(HUB if name == "bagel" else name)
    theirs = upstream.read(folder) if upstream.is_upstream(folder) else None
    config = options.apply(theirs.config if theirs else BagelConfig.load(folder), chosen, f"model {name!r}")
    tokenizer = BagelTokenizer.load(folder, complete=theirs is not None)
    path = theirs.weights if theirs else folder / "model.safetensors"
    try:
        state = load_file(path, device=device)
        conv = state.get(f"{PATCHES}.weight")
        if conv is not None and conv.ndim == 4:  # SigLIP's own layout, as some exports have it
            state[f"{PATCHES}.weight"] = conv.permute(0, 2, 3, 1).flatten(1)
        small = device == "cpu" and sum(v.numel() for v in state.values()) < FLOAT_ON_CPU
        if small:
            state = {k: v.float() for k, v in state.items()}
        with unfilled("cpu" if small else "meta"):
            network = Bagel(config)
        network.load_state_dict(state, assign=True)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise ModelError(f"{path}: cannot be loaded: {str(error).splitlines()[0]}") from error
    codec = load_codec(folder / CODEC, device) if theirs else None
    files = theirs.files if theirs else None
    return BagelModel(network.eval(), tokenizer, name, codec, files, fast_dtype() if small else None)


@contextmanager
def unfilled(where: str) -> Iterator[None]:
    """Modules whose values a file is about to give are not drawn.

    What is small is not made on the meta device either: that imports torch's compiler, a second of every start.
    """
    kinds = (nn.Linear, nn.Embedding)
    draws = [kind.reset_parameters for kind in kinds]
    try:
        for kind in kinds:
            kind.reset_parameters = lambda self: None
        with nullcontext() if where == "cpu" else torch.device(where):
            yield
    finally:
        for kind, draw in zip(kinds, draws, strict=True):
            kind.reset_parameters = draw


def fast_dtype() -> torch.dtype | None:
    """What this CPU draws fastest in; None where that is float32."""
    units = torch.cpu.get_capabilities()
    return torch.bfloat16 if units.get("amx_bf16") or units.get("avx512_bf16") else None


PATCHES = "vit_model.vision_model.embeddings.patch_embedding"
