"""Models that draw token by token: what Janus and Emu3 share, on transformers' classes.

One sequence: the prompt, the trace, the token that opens the image (BOI), the image's codes. The BOI is
also what ends the trace; a trace that ends with the end-of-text token instead opens nothing. A family
fills in ``VQModel``'s hooks: its tokens, its embeddings, its heads and its codec. Left out: packing,
and an image anywhere but at the end. Losses are in ``vq_losses.py``, generation in ``vq_generate.py``.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from datagen.errors import ModelError
from datagen.models import latent, vq_losses
from datagen.models.base import Example, GenerationConfig, UnifiedBatch, UnifiedLoss, UnifiedSample
from datagen.models.sampling import in_batches
from datagen.models.vq_generate import generate

SETTINGS = "datagen.json"
CARRIED = ("preprocessor_config.json", "processor_config.json", "chat_template.jinja", "chat_template.json")


@dataclass(frozen=True)
class VQSettings:
    """How a checkpoint is prompted and sampled; kept beside it in ``datagen.json``.

    ``{prompt}`` in ``think`` is the prompt when a trace follows, in ``plain`` when none does.
    """

    think: str
    plain: str
    lead: str = ""  # between the prompt and the trace
    negative: str = ""  # what guidance leads away from, where the family uses words for that
    image_size: int = 0  # pixels a side; 0: the codec's own
    cfg: float = 5.0
    temperature: float = 1.0  # of the trace; a checkpoint's own is for answering questions
    code_temperature: float = 1.0
    top_k: int = 0  # codes kept; 0: all
    max_trace_tokens: int = 256
    batch: int = 8  # candidates generated at once
    condition_dropout: float = 0.1
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)  # of the pixels that the codec was trained on
    std: tuple[float, ...] = (0.5, 0.5, 0.5)


class VQModel(ABC):
    """A ``UnifiedModel`` over a transformers model; a family subclasses it."""

    bos: int
    eos: int
    pad: int
    boi: int

    def __init__(
        self,
        network: Any,
        tokenizer: Any,
        settings: VQSettings,
        name: str,
        files: dict[str, bytes] | None = None,
    ) -> None:
        self.network, self.tokenizer, self.settings, self.name = network, tokenizer, settings, name
        self.files = files or {}
        self.boi = self.token_id("boi")
        self.bos, self.eos = tokenizer.bos_token_id, tokenizer.eos_token_id
        self.pad = self.eos if tokenizer.pad_token_id is None else tokenizer.pad_token_id
        if self.bos is None or self.eos is None:
            raise ModelError(f"{name}: its tokenizer has no bos_token or no eos_token")
        for part in self.frozen():
            part.requires_grad_(False)
            part.eval()

    # -- what a family fills in ----------------------------------------------------------------

    TOKENS: dict[str, str]  # role -> the token's text

    @property
    @abstractmethod
    def decoder(self) -> nn.Module:
        """The language model without its head."""

    @abstractmethod
    def frozen(self) -> list[nn.Module]:
        """What is never trained: the codec, and the tower that looks at images."""

    @abstractmethod
    def block(self) -> list[int | None]:
        """The image's tokens from the BOI to the last code: ids that are given, None for a code."""

    @abstractmethod
    def unconditional(self, length: int) -> list[int]:
        """What guidance compares with a text of ``length`` tokens; at most as long."""

    @abstractmethod
    def embed_codes(self, codes: Tensor) -> Tensor:
        """[B, n] to [B, n, d]."""

    @abstractmethod
    def code_logits(self, hidden: Tensor) -> Tensor:
        """[..., d] to [..., codebook]."""

    @abstractmethod
    def encode_image(self, pixels: Tensor) -> Tensor:
        """[B, 3, H, W] in [-1, 1] to codes [B, N]."""

    @abstractmethod
    def decode_image(self, representation: Tensor) -> Tensor:
        """Codes [B, N] to [B, 3, H, W] in [-1, 1]."""

    @property
    @abstractmethod
    def side(self) -> int:
        """Codes a side."""

    @property
    @abstractmethod
    def image_size(self) -> int:
        """Pixels a side."""

    def banned(self) -> Tensor | None:
        """Ids that a trace cannot contain."""
        return None

    # -- the protocol --------------------------------------------------------------------------

    @property
    def module(self) -> nn.Module:
        return self.network

    @property
    def codec(self) -> Any:
        """The VQ model, as it was pretrained whatever mode the rest is in: it may hold batch norms."""
        return self.network.model.vqmodel.eval()

    @cached_property
    def codec_id(self) -> str:
        return latent.identity(self.codec)

    @property
    def device(self) -> torch.device:
        return self.network.lm_head.weight.device

    def generate(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        config: GenerationConfig,
        traces: Sequence[str] | None = None,
    ) -> list[UnifiedSample]:
        return in_batches(self, generate, self.settings.batch, prompts, seeds, config, traces)

    def prompt_ids(self, prompt: str, thinks: bool) -> list[int]:
        template = self.settings.think if thinks else self.settings.plain
        return [self.bos, *self.encode(template.replace("{prompt}", prompt))]

    def trace_ids(self, trace: str) -> list[int]:
        return self.encode(self.settings.lead + trace)

    def encode(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False)

    def token_id(self, role: str) -> int:
        """The id of a special token, by the tokenizer's own name for it or by the family's."""
        found = getattr(self.tokenizer, f"{role}_token_id", None)
        if found is None:
            found = self.tokenizer.convert_tokens_to_ids(self.TOKENS[role])
        if found is None or found == self.tokenizer.unk_token_id:
            raise ModelError(f"{self.name}: its tokenizer has no token {self.TOKENS[role]!r}")
        return int(found)

    def collate(self, examples: Sequence[Example]) -> UnifiedBatch:
        """Right-padded tensors. Supervised: the trace, and the BOI (or the end of text) after it."""
        rows = []
        for e in examples:
            ids = self.prompt_ids(e.prompt, bool(e.trace))
            labels = [-1] * len(ids)
            if e.trace:
                trace = self.trace_ids(e.trace)
                labels += [*trace[1:], self.boi if e.open_image else self.eos]
                labels[len(ids) - 1] = trace[0]
                ids = ids + trace
            rows.append((ids, labels))
        longest = max(len(ids) for ids, _ in rows)
        lengths = torch.tensor([len(ids) for ids, _ in rows])
        labels = torch.tensor([labels + [-1] * (longest - len(labels)) for _, labels in rows])
        blank = torch.zeros(self.side**2, dtype=torch.long)
        return UnifiedBatch(
            input_ids=torch.tensor([ids + [self.pad] * (longest - len(ids)) for ids, _ in rows]),
            text_mask=torch.arange(longest) < lengths[:, None],
            label_mask=labels >= 0,
            labels=labels,
            image=torch.stack([blank if e.image is None else self.represent(e.image) for e in examples]),
            image_mask=torch.tensor([e.image is not None for e in examples]),
            text_weight=torch.tensor([e.text_weight for e in examples], dtype=torch.float32),
            image_weight=torch.tensor([e.image_weight for e in examples], dtype=torch.float32),
        )

    encodes = True  # a picture costs an autoencoder before it is trained on
    passes: dict[str, tuple[str, ...]]  # the parts that tokens of a modality go through: trainer.parameters

    @property
    def image_tokens(self) -> int:
        """Places that a picture takes in the sequence: nothing follows its last code."""
        return len(self.block()) - 1

    def represent(self, image: Image.Image | Tensor) -> Tensor:
        """The codes [N] of one picture; a tensor is that already."""
        if isinstance(image, Tensor):
            return image
        rgb = image.convert("RGB")
        size = (self.image_size, self.image_size)
        if rgb.size != size:
            rgb = rgb.resize(size, Image.Resampling.LANCZOS)
        pixels = torch.from_numpy(np.asarray(rgb).copy()).permute(2, 0, 1).float() / 127.5 - 1
        return self.encode_image(pixels[None])[0].cpu()

    def normalised(self, pixels: Tensor) -> Tensor:
        """Pixels in [-1, 1] as the codec takes them, on its device and in its dtype."""
        s, weight = self.settings, next(self.codec.parameters())
        mean, std = (torch.tensor(v)[:, None, None] for v in (s.mean, s.std))
        return (((pixels + 1) / 2 - mean) / std).to(weight.device, weight.dtype)

    def denormalised(self, pixels: Tensor) -> Tensor:
        s = self.settings
        mean, std = (torch.tensor(v, device=pixels.device)[:, None, None] for v in (s.mean, s.std))
        return ((pixels.float() * std + mean) * 2 - 1).clamp(-1, 1)

    def losses(self, batch: UnifiedBatch, generator: torch.Generator | None = None) -> UnifiedLoss:
        """Per-sample losses [B]; see ``vq_losses``."""
        return self.reduce(batch, *self.predict(batch, generator))

    def predict(
        self, batch: UnifiedBatch, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        return vq_losses.predict(self, batch, generator)

    def reduce(self, batch: UnifiedBatch, states: Tensor, dropped: Tensor, logits: Tensor) -> UnifiedLoss:
        return vq_losses.reduce(self, batch, states, dropped, logits)

    def save(self, folder: str) -> None:
        """A transformers checkpoint with its tokenizer, its processor's files and our settings."""
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        self.network.save_pretrained(path)
        self.tokenizer.save_pretrained(path)
        for name, content in self.files.items():
            (path / name).write_bytes(content)
        (path / SETTINGS).write_text(json.dumps(asdict(self.settings), indent=2) + "\n")
