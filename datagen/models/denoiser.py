"""Training the denoiser of any pipeline of diffusers: its conditioning, its noise and its target.

Pipelines condition their denoisers each in their own way, so the pipeline itself is asked: it is run
up to its first call of the denoiser, and what it passes there is passed again with our noisy latents
and times. Noise and target follow the scheduler: a rectified flow's velocity, or a DDPM's prediction.
"""

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from datagen.errors import ModelError

if TYPE_CHECKING:
    from datagen.models.pipelines import PipelineModel


def noised(
    model: "PipelineModel", x0: Tensor, noise: Tensor, generator: torch.Generator | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Noisy latents, their times [B] on the scheduler's scale, and what the denoiser should say.

    Raises ``ModelError`` for a scheduler that is neither a rectified flow nor a DDPM.
    """
    scheduler = model.pipe.scheduler
    c, n, wide = scheduler.config, len(x0), (-1, *[1] * (x0.ndim - 1))
    if "FlowMatch" in type(scheduler).__name__ or c.get("prediction_type") == "flow_prediction":
        shift = flow_shift(model, x0)
        t = torch.randn(n, generator=generator, device=x0.device).sigmoid()
        t = shift * t / (1 + (shift - 1) * t)
        at = t.view(wide)
        return (1 - at) * x0 + at * noise, t * c.num_train_timesteps, noise - x0
    if not hasattr(scheduler, "alphas_cumprod"):
        raise ModelError(
            f"{model.name}: {type(scheduler).__name__} is neither a flow nor a DDPM: it only draws"
        )
    t = torch.randint(c.num_train_timesteps, (n,), generator=generator, device=x0.device)
    kept = scheduler.alphas_cumprod.to(x0.device)[t].view(wide)
    x_t = kept.sqrt() * x0 + (1 - kept).sqrt() * noise
    kind = c.get("prediction_type", "epsilon")
    targets = {"epsilon": noise, "sample": x0, "v_prediction": kept.sqrt() * noise - (1 - kept).sqrt() * x0}
    if kind not in targets:
        raise ModelError(f"{model.name}: prediction_type is {kind!r}; trainable: {', '.join(targets)}")
    return x_t, t, targets[kind]


def flow_shift(model: "PipelineModel", x0: Tensor) -> float:
    """How far times are moved towards the noise: fixed, or by the number of image tokens."""
    c = model.pipe.scheduler.config
    if not c.get("use_dynamic_shifting"):
        return float(c.get("shift") or c.get("flow_shift") or 1.0)
    tokens = latent_tokens(model, x0.shape[-2], x0.shape[-1])
    slope = (c.max_shift - c.base_shift) / (c.max_image_seq_len - c.base_image_seq_len)
    return math.exp(c.base_shift + slope * (tokens - c.base_image_seq_len))


def latent_tokens(model: "PipelineModel", height: int, width: int) -> int:
    """How many tokens the denoiser makes of a latent; some pipelines fold 2 x 2 before it sees them."""
    patch = 2 if hasattr(model.pipe, "_pack_latents") else getattr(model.module.config, "patch_size", 1)
    return height * width // patch**2


class _Recorded(Exception):
    """Stops a pipeline at its first call of the denoiser."""


def conditioning(model: "PipelineModel", prompts: list[str]) -> "DenoiserCall":
    """What the pipeline passes its denoiser for ``prompts``, without guidance."""
    seen: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def record(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        seen.append((args, kwargs))
        raise _Recorded

    hook = model.module.register_forward_pre_hook(record, with_kwargs=True)
    arguments = {"num_inference_steps": 4, **model.guidance(1.0)}
    if model.settings.image_size:
        arguments |= {"height": model.settings.image_size, "width": model.settings.image_size}
    try:
        with torch.no_grad():
            model.pipe(
                prompt=prompts, generator=torch.Generator().manual_seed(0), output_type="latent", **arguments
            )
    except _Recorded:
        pass
    finally:
        hook.remove()
    args, kwargs = seen[0]
    return DenoiserCall(model, args, kwargs, float(model.pipe.scheduler.timesteps[0]))


class DenoiserCall:
    """The denoiser as its pipeline calls it, but for the latents and the time."""

    def __init__(
        self, model: "PipelineModel", args: tuple[Any, ...], kwargs: dict[str, Any], first: float
    ) -> None:
        self.model, self.args, self.kwargs = model, list(args), dict(kwargs)
        self.latents = self._value("hidden_states", "sample", 0)
        passed = float(torch.as_tensor(self._value("timestep", "timestep", 1)).flatten()[0])
        self.ratio = passed / first  # some are passed t, some t / 1000
        if self.latents is None or self.latents.ndim not in (3, 4) or not self.ratio > 0:
            kind = type(model.pipe).__name__
            raise ModelError(
                f"{model.name}: {kind} calls its denoiser in a way that is not known here; it only draws"
            )

    def _value(self, name: str, other: str, place: int) -> Any:
        for key in (name, other):
            if key in self.kwargs:
                return self.kwargs[key]
        return self.args[place] if place < len(self.args) else None

    def packed(self, latents: Tensor) -> Tensor:
        """[B, C, h, w] in the layout that the denoiser takes."""
        if self.latents.ndim == 4:
            out = latents
        else:
            out = self.model.pipe._pack_latents(latents, *latents.shape)
        if out.shape[1:] != self.latents.shape[1:]:
            raise ModelError(
                f"{self.model.name}: latents of {tuple(out.shape[1:])} where the pipeline draws "
                f"{tuple(self.latents.shape[1:])}; set image_size to what it draws"
            )
        return out

    def __call__(self, x_t: Tensor, time: Tensor) -> Tensor:
        """The denoiser's prediction, float32 and packed as it comes."""
        args, kwargs = list(self.args), {**self.kwargs, "return_dict": False}
        dtype = self.latents.dtype
        passed = self._value("timestep", "timestep", 1)
        values = {
            0: self.packed(x_t).to(dtype),
            1: (time * self.ratio).to(torch.as_tensor(passed).dtype),
        }
        for place, names in ((0, ("hidden_states", "sample")), (1, ("timestep",))):
            key = next((k for k in names if k in kwargs), None)
            if key is None:
                args[place] = values[place]
            else:
                kwargs[key] = values[place]
        out = self.model.module(*args, **kwargs)[0].float()
        channels = values[0].shape[1]
        return out[:, :channels] if values[0].ndim == 4 and out.shape[1] == 2 * channels else out
