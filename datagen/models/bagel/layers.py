"""BAGEL's decoder: Mixture-of-Transformers, two experts that share one attention.

The sequence is held as two streams, ``und`` (text and the image's two border tokens, the text
expert) and ``gen`` (image latents, the generation expert), concatenated only inside attention.
Upstream routes one packed stream by index instead; attention does not care about order, so the
result is the same and every expert is one dense matrix product. Parameter names are upstream's
(ByteDance-Seed/Bagel, ``modeling/bagel/qwen2_navit.py``).
"""

import math
from functools import cache
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from datagen.models.bagel.config import BagelConfig


class RMSNorm(nn.Module):
    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        if x.dtype is torch.bfloat16 and x.device.type == "cpu" and not torch.is_grad_enabled():
            # torch has no fused kernel for this one: its fallback is a quarter of drawing a picture
            norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
            scale = (norm * norm / x.shape[-1] + self.eps).rsqrt()
            return x * scale.to(x.dtype) * self.weight.to(x.dtype)
        return F.rms_norm(x, self.weight.shape, self.weight.to(x.dtype), self.eps)


class MLP(nn.Module):
    """SwiGLU."""

    def __init__(self, config: BagelConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


def rope(positions: Tensor, head_dim: int, theta: float) -> tuple[Tensor, Tensor]:
    """``positions`` [B, S] to cos and sin [B, 1, S, head_dim], float32."""
    inv = theta ** (-torch.arange(0, head_dim, 2, device=positions.device, dtype=torch.float32) / head_dim)
    angle = positions.float()[:, None, :, None] * inv
    angle = torch.cat([angle, angle], dim=-1)
    return angle.cos(), angle.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    half = x.shape[-1] // 2
    turned = torch.cat([-x[..., half:], x[..., :half]], dim=-1)
    return (x * cos + turned * sin).to(x.dtype)


@cache
def _flex() -> Any:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention)  # uncompiled it would hold all scores at once


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Any) -> Tensor:
    """Masked attention; ``q`` [B, H, Q, D], ``k`` and ``v`` [B, kv_heads, S, D].

    ``mask``: bool, or flex attention's block mask.
    """
    groups = q.shape[1] // k.shape[1]
    if not isinstance(mask, Tensor):
        return _flex()(q, k, v, block_mask=mask, enable_gqa=groups > 1)
    if q.device.type == "cpu" and not q.requires_grad:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=groups > 1)
    if groups > 1:  # on a GPU no fused kernel takes a mask and grouped heads at once
        k, v = k.repeat_interleave(groups, dim=1), v.repeat_interleave(groups, dim=1)
    if q.device.type != "cpu":
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    # The CPU's fused backward is a third of a training step at this size; plain matmuls are not.
    bias = torch.zeros(mask.shape, dtype=q.dtype).masked_fill_(~mask, torch.finfo(q.dtype).min)
    weights = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5 + bias).softmax(-1)
    return weights.to(v.dtype) @ v


class Room(NamedTuple):
    """Keys and values [B, kv_heads, S + T, head_dim] whose last T slots each call fills anew.

    A picture's steps all stand behind the same text: appended to it, the text would be copied each step.
    """

    k: Tensor
    v: Tensor

    @classmethod
    def behind(cls, k: Tensor, v: Tensor, slots: int) -> "Room":
        """A copy of a cache with ``slots`` free behind it."""
        return cls(*(F.pad(x, (0, 0, 0, slots)) for x in (k, v)))

    def filled(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        self.k[:, :, -k.shape[2] :] = k
        self.v[:, :, -v.shape[2] :] = v
        return self.k, self.v


class Attention(nn.Module):
    """Grouped-query attention with per-head q/k norms; ``_moe_gen`` are the generation expert's."""

    def __init__(self, config: BagelConfig) -> None:
        super().__init__()
        self.heads, self.kv_heads = config.num_heads, config.num_kv_heads
        self.head_dim = config.hidden_size // config.num_heads
        d, q, kv = config.hidden_size, self.heads * self.head_dim, self.kv_heads * self.head_dim
        for suffix in ("", "_moe_gen"):
            setattr(self, f"q_proj{suffix}", nn.Linear(d, q, bias=config.qkv_bias))
            setattr(self, f"k_proj{suffix}", nn.Linear(d, kv, bias=config.qkv_bias))
            setattr(self, f"v_proj{suffix}", nn.Linear(d, kv, bias=config.qkv_bias))
            setattr(self, f"o_proj{suffix}", nn.Linear(q, d, bias=False))
            setattr(self, f"q_norm{suffix}", RMSNorm(self.head_dim, config.rms_norm_eps))
            setattr(self, f"k_norm{suffix}", RMSNorm(self.head_dim, config.rms_norm_eps))

    def _project(self, x: Tensor, suffix: str) -> tuple[Tensor, Tensor, Tensor]:
        def heads(name: str, n: int) -> Tensor:
            return getattr(self, f"{name}_proj{suffix}")(x).unflatten(-1, (n, self.head_dim)).transpose(1, 2)

        q = getattr(self, f"q_norm{suffix}")(heads("q", self.heads))
        k = getattr(self, f"k_norm{suffix}")(heads("k", self.kv_heads))
        v = heads("v", self.kv_heads)
        return q.to(v.dtype), k.to(v.dtype), v  # a GPU's autocast norms in float32; attention wants one dtype

    def forward(
        self,
        und: Tensor,
        gen: Tensor | None,
        cos: Tensor,
        sin: Tensor,
        mask: Any,
        past: tuple[Tensor, Tensor] | None,
    ) -> tuple[Tensor, Tensor | None, tuple[Tensor, Tensor]]:
        """Returns both streams and this call's keys and values [B, kv_heads, S, head_dim]."""
        q, k, v = self._project(und, "")
        if gen is not None:
            parts = self._project(gen, "_moe_gen")
            q, k, v = (torch.cat(pair, dim=2) for pair in zip((q, k, v), parts, strict=True))
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        fresh = (k, v)
        if isinstance(past, Room):
            k, v = past.filled(k, v)
        elif past is not None:
            k, v = torch.cat([past[0], k], dim=2), torch.cat([past[1], v], dim=2)
        out = attend(q, k, v, mask)
        out = out.transpose(1, 2).flatten(2)
        text = out[:, : und.shape[1]]
        image = self.o_proj_moe_gen(out[:, und.shape[1] :]) if gen is not None else None
        return self.o_proj(text), image, fresh


class Layer(nn.Module):
    def __init__(self, config: BagelConfig) -> None:
        super().__init__()
        self.self_attn = Attention(config)
        self.mlp, self.mlp_moe_gen = MLP(config), MLP(config)
        for name in ("input_layernorm", "post_attention_layernorm"):
            setattr(self, name, RMSNorm(config.hidden_size, config.rms_norm_eps))
            setattr(self, f"{name}_moe_gen", RMSNorm(config.hidden_size, config.rms_norm_eps))

    def forward(
        self,
        und: Tensor,
        gen: Tensor | None,
        cos: Tensor,
        sin: Tensor,
        mask: Any,
        past: tuple[Tensor, Tensor] | None,
    ) -> tuple[Tensor, Tensor | None, tuple[Tensor, Tensor]]:
        normed = None if gen is None else self.input_layernorm_moe_gen(gen)
        text, image, fresh = self.self_attn(self.input_layernorm(und), normed, cos, sin, mask, past)
        und = und + text
        und = und + self.mlp(self.post_attention_layernorm(und))
        if gen is not None and image is not None:
            gen = gen + image
            gen = gen + self.mlp_moe_gen(self.post_attention_layernorm_moe_gen(gen))
        return und, gen, fresh


class TimestepEmbedder(nn.Module):
    """t in [0, 1], [B], to [B, hidden] through 256 sinusoids and a two-layer MLP, as DiT does."""

    def __init__(self, hidden: int, frequencies: int = 256) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(frequencies, hidden), nn.SiLU(), nn.Linear(hidden, hidden))
        self.frequencies = frequencies

    def forward(self, t: Tensor) -> Tensor:
        half = self.frequencies // 2
        freqs = torch.exp(-math.log(10_000) * torch.arange(half, device=t.device, dtype=torch.float32) / half)
        args = t.float()[:, None] * freqs
        return self.mlp(torch.cat([args.cos(), args.sin()], dim=-1).to(self.mlp[0].weight.dtype))


def sincos_2d(size: int, dim: int) -> Tensor:
    """[size * size, dim] fixed positions: half the channels for x, half for y, as MAE does."""
    omega = 1.0 / 10_000 ** (torch.arange(dim // 4, dtype=torch.float64) / (dim / 4))
    grid = torch.arange(size, dtype=torch.float64)
    one = torch.cat([(grid[:, None] * omega).sin(), (grid[:, None] * omega).cos()], dim=1)
    x = one[None].expand(size, size, -1)
    y = one[:, None].expand(size, size, -1)
    return torch.cat([x, y], dim=-1).reshape(size * size, dim).float()


class PositionEmbedding(nn.Module):
    """Upstream keeps the fixed table as a frozen parameter in the checkpoint; so do we."""

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        self.pos_embed = nn.Parameter(sincos_2d(size, dim), requires_grad=False)

    def forward(self, ids: Tensor) -> Tensor:
        return self.pos_embed[ids]
