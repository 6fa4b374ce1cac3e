"""Any text-to-image pipeline of diffusers, as a model that only draws.

The trace is the LLM's and part of the prompt; the transition is always ``forced``; only the image
trains, by flow or DDPM regression on the denoiser (``denoiser.py``). Left out: training of pipelines
whose latents are not a plain autoencoder's, or whose denoiser runs time the other way; they still draw.
"""

import inspect
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from datagen.errors import InputError, ModelError
from datagen.models import options
from datagen.models.base import Example, GenerationConfig, UnifiedBatch, UnifiedLoss, UnifiedSample
from datagen.models.denoiser import conditioning, latent_tokens, noised
from datagen.models.drawing import texts

SETTINGS = "datagen.json"
AUTOENCODERS = ("AutoencoderKL", "AutoencoderDC")


@dataclass(frozen=True)
class PipelineSettings:
    """``image_size``, ``cfg`` and ``steps`` 0 are the pipeline's own."""

    image_size: int = 0
    cfg: float = 0.0
    steps: int = 0
    batch: int = 4  # images a call
    template: str = "{prompt}\n{trace}"
    condition_dropout: float = 0.1


class PipelineModel:
    """A ``UnifiedModel`` over a ``DiffusionPipeline``."""

    def __init__(self, pipe: Any, settings: PipelineSettings, name: str) -> None:
        self.pipe, self.settings, self.name = pipe, settings, name
        self.takes = inspect.signature(type(pipe).__call__).parameters
        if "prompt" not in self.takes:
            raise ModelError(f"{name}: {type(pipe).__name__} does not draw from a prompt")
        pipe.set_progress_bar_config(disable=True)
        for part in pipe.components.values():
            if isinstance(part, nn.Module) and part is not self.module:
                part.requires_grad_(False).eval()

    @property
    def module(self) -> nn.Module:
        """The denoiser."""
        found = getattr(self.pipe, "transformer", None) or getattr(self.pipe, "unet", None)
        if found is None:
            raise ModelError(f"{self.name}: {type(self.pipe).__name__} has no denoiser to train")
        return found

    # -- drawing -------------------------------------------------------------------------------

    @torch.no_grad()
    def generate(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        config: GenerationConfig,
        traces: Sequence[str] | None = None,
    ) -> list[UnifiedSample]:
        """One image a prompt, ``batch`` at a time, each from its own seed."""
        drawn = texts(self.name, prompts, config, traces, self.settings.template)
        self.module.eval()
        arguments = self._arguments(config)
        images: list[Image.Image] = []
        for start in range(0, len(drawn), self.settings.batch):
            part = slice(start, start + self.settings.batch)
            rows = [torch.Generator().manual_seed(seed) for seed in seeds[part]]
            images += self.pipe(prompt=drawn[part], generator=rows, output_type="pil", **arguments).images
        said = list(traces) if traces is not None and config.trace == "given" else [""] * len(prompts)
        none = torch.zeros(0, dtype=torch.long)
        return [
            UnifiedSample(prompt, trace, none, image.convert("RGB"), None, "forced")
            for prompt, trace, image in zip(prompts, said, images, strict=True)
        ]

    def _arguments(self, config: GenerationConfig) -> dict[str, Any]:
        s = self.settings
        out: dict[str, Any] = {}
        if s.image_size:
            out |= {"height": s.image_size, "width": s.image_size}
        if steps := config.steps or s.steps:
            out["num_inference_steps"] = steps
        scale = s.cfg if config.cfg is None else config.cfg
        if scale:
            out |= self.guidance(scale)
        return out

    def guidance(self, scale: float) -> dict[str, Any]:
        """A guidance scale under the pipeline's name for it; 1 is without."""
        embedded = getattr(getattr(self.module, "config", None), "guidance_embeds", True)
        if "true_cfg_scale" in self.takes and not embedded:
            return {"true_cfg_scale": scale, **({"negative_prompt": " "} if scale > 1 else {})}
        return {"guidance_scale": scale} if "guidance_scale" in self.takes else {}

    # -- training ------------------------------------------------------------------------------

    def collate(self, examples: Sequence[Example]) -> UnifiedBatch:
        """A pipeline has several tokenizers, inside it; ``input_ids`` are the text's UTF-8 bytes."""
        template = self.settings.template
        rows = []
        for e in examples:
            text = template.replace("{prompt}", e.prompt).replace("{trace}", e.trace) if e.trace else e.prompt
            rows.append(list(text.encode()))
        longest = max(1, *(len(r) for r in rows))
        images = [self.represent(e.image) for e in examples if e.image is not None]
        some = images[0] if images else self.represent(Image.new("RGB", (8, 8)))
        blank = torch.zeros_like(some)
        encoded = iter(images)
        n = len(examples)
        return UnifiedBatch(
            input_ids=torch.tensor([r + [0] * (longest - len(r)) for r in rows]),
            text_mask=torch.arange(longest) < torch.tensor([len(r) for r in rows])[:, None],
            label_mask=torch.zeros(n, longest, dtype=torch.bool),
            labels=torch.full((n, longest), -1),
            image=torch.stack([blank if e.image is None else next(encoded) for e in examples]),
            image_mask=torch.tensor([e.image is not None for e in examples]),
            text_weight=torch.tensor([e.text_weight for e in examples], dtype=torch.float32),
            image_weight=torch.tensor([e.image_weight for e in examples], dtype=torch.float32),
        )

    encodes = True  # a picture costs an autoencoder before it is trained on
    draws_only = True  # so all of the denoiser learns at the image's rate

    @property
    def passes(self) -> dict[str, tuple[str, ...]]:
        """A token of a picture goes through a whole transformer; of a U-Net's shrinking maps nothing is said."""
        flat = hasattr(self.pipe, "transformer")
        return {"text": (), "image": ("text", "head", "generation") if flat else ()}

    @property
    def image_tokens(self) -> int:
        """Tokens of one picture; of a U-Net the places of its latent."""
        side = self.image_size // getattr(self.pipe, "vae_scale_factor", 8)
        return latent_tokens(self, side, side)

    @property
    def codec(self) -> Any:
        return getattr(self.pipe, "vae", None)

    def represent(self, image: Image.Image | Tensor) -> Tensor:
        """The latent [C, h, w] of one picture; a tensor is that already."""
        if isinstance(image, Tensor):
            return image
        size = (self.image_size, self.image_size)
        rgb = image.convert("RGB")
        if rgb.size != size:
            rgb = rgb.resize(size, Image.Resampling.LANCZOS)
        pixels = torch.from_numpy(np.asarray(rgb).copy()).permute(2, 0, 1).float() / 127.5 - 1
        return self.encode_image(pixels[None])[0].cpu()

    @property
    def image_size(self) -> int:
        """Pixels a side: the settings', or what the pipeline draws by default."""
        if self.settings.image_size:
            return self.settings.image_size
        factor = getattr(self.pipe, "vae_scale_factor", 8)
        default = getattr(self.pipe, "default_sample_size", None) or self.module.config.sample_size
        return int(default * factor)

    def losses(self, batch: UnifiedBatch, generator: torch.Generator | None = None) -> UnifiedLoss:
        """Per-sample regression of the denoiser [B]; a draw-only model has no text terms.

        With probability ``condition_dropout`` a sample is trained without its text, for guidance. A batch
        without a picture goes through all the same, for a gradient of 0: other processes may wait for one.
        """
        n, device = len(batch.image), batch.image.device
        none = torch.zeros(n, device=device)
        dropped = torch.rand(n, generator=generator, device=device) < self.settings.condition_dropout
        said = [
            "" if drop else bytes(ids[real].tolist()).decode()
            for ids, real, drop in zip(batch.input_ids, batch.text_mask, dropped.tolist(), strict=True)
        ]
        noise = torch.randn(batch.image.shape, generator=generator, device=device)
        call = conditioning(self, said)
        x_t, time, target = noised(self, batch.image.float(), noise, generator)
        squares = (call(x_t, time) - call.packed(target)).pow(2)
        image = squares.flatten(1).mean(1) * batch.image_mask
        return UnifiedLoss((batch.image_weight * image).mean(), none, image, none)

    @torch.no_grad()
    def encode_image(self, pixels: Tensor) -> Tensor:
        vae = self._autoencoder()
        p = next(vae.parameters())
        coded = vae.encode(pixels.to(p.device, p.dtype))
        latent = coded.latent_dist.mode() if hasattr(coded, "latent_dist") else coded.latent
        return ((latent - (vae.config.get("shift_factor") or 0.0)) * vae.config.scaling_factor).float()

    @torch.no_grad()
    def decode_image(self, representation: Tensor) -> Tensor:
        vae = self._autoencoder()
        p = next(vae.parameters())
        latent = representation.to(p.device, p.dtype) / vae.config.scaling_factor
        return vae.decode(latent + (vae.config.get("shift_factor") or 0.0)).sample.float().clamp(-1, 1)

    def _autoencoder(self) -> Any:
        vae = self.codec
        if type(vae).__name__ not in AUTOENCODERS:
            raise ModelError(
                f"{self.name}: autoencoder {type(vae).__name__}; trainable: {', '.join(AUTOENCODERS)}; it only draws"
            )
        return vae

    def save(self, folder: str) -> None:
        """A pipeline folder as diffusers writes it, with our settings beside it."""
        self.pipe.save_pretrained(folder)
        (Path(folder) / SETTINGS).write_text(json.dumps(asdict(self.settings), indent=2) + "\n")


def load(name: str, device: str = "cpu", **chosen: Any) -> PipelineModel:
    """A pipeline's folder or Hub id; ``chosen`` are fields of ``PipelineSettings``.

    Raises ``ModelError`` when diffusers cannot open it, ``InputError`` when none is named.
    """
    if name == "diffusers":
        raise InputError("model diffusers: name a pipeline, as in diffusers:OWNER/NAME or diffusers:FOLDER")
    from diffusers import DiffusionPipeline
    from diffusers.utils import logging

    logging.disable_progress_bar()
    path = Path(name) / SETTINGS
    try:
        kept = json.loads(path.read_text()) if path.is_file() else {}
        dtype = torch.float32 if device == "cpu" else torch.bfloat16
        pipe = DiffusionPipeline.from_pretrained(name, torch_dtype=dtype)
    except (OSError, ValueError, RuntimeError, AttributeError, ImportError) as error:
        raise ModelError(f"{name}: not a pipeline of diffusers: {str(error).splitlines()[0]}") from error
    settings = options.apply(PipelineSettings(), kept, str(path))
    return PipelineModel(pipe.to(device), options.apply(settings, chosen, f"model {name!r}"), name)
