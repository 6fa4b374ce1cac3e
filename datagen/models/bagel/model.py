"""BAGEL: one network for text and image, its per-sample losses and its checkpoint.

Text is predicted token by token; the image is a rectified flow on latent patches, conditioned
through attention. Rows are padded or packed (``packing.py``). The generation loop is in ``generate.py``,
looking at images in ``vision.py``, the protocol object in ``__init__.py``. Follows ByteDance-Seed/Bagel ``modeling/bagel/bagel.py``; state-dict keys are the same.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from datagen.models.bagel.config import BagelConfig
from datagen.models.bagel.flow import shifted
from datagen.models.bagel.layers import Layer, PositionEmbedding, RMSNorm, TimestepEmbedder, rope
from datagen.models.bagel.packing import Packing
from datagen.models.bagel.vision import Connector, VisionModel
from datagen.models.base import UnifiedBatch, UnifiedLoss

MIN_T = 0.1  # x-prediction divides by t; below this the velocity error is capped


class Decoder(nn.Module):
    def __init__(self, config: BagelConfig) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.norm_moe_gen = RMSNorm(config.hidden_size, config.rms_norm_eps)


class LanguageModel(nn.Module):
    def __init__(self, config: BagelConfig) -> None:
        super().__init__()
        self.model = Decoder(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)


class Bagel(nn.Module):
    """The network. Call ``run`` for hidden states, ``losses`` for training."""

    def __init__(self, config: BagelConfig) -> None:
        super().__init__()
        self.config = config
        self.language_model = LanguageModel(config)
        self.time_embedder = TimestepEmbedder(config.hidden_size)
        self.vae2llm = nn.Linear(config.patch_dim, config.hidden_size)
        self.llm2vae = nn.Linear(config.hidden_size, config.patch_dim)
        self.latent_pos_embed = PositionEmbedding(config.max_latent_size, config.hidden_size)
        if config.vit_layers:
            self.vit_model = VisionModel(config)
            self.connector = Connector(config)
            self.vit_pos_embed = PositionEmbedding(config.vit_side, config.hidden_size)
        self.border = (0, 0)  # ids of <|vision_start|> and <|vision_end|>, set by the owner
        self.checkpointing = False
        self.packed = False  # train on packed rows
        self.think: tuple[int, ...] = ()  # ids of the thinking prompt, set by the owner
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
                if isinstance(module, nn.Linear) and module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.zeros_(self.llm2vae.weight)  # the flow starts from predicting nothing, as upstream
        if config.vit_layers:  # post-training is about drawing; what the model sees stays as it was
            self.vit_model.requires_grad_(False)
            self.connector.requires_grad_(False)

    # -- the shared trunk ---------------------------------------------------------------------

    def run(
        self,
        und: Tensor,
        gen: Tensor | None,
        positions: Tensor,
        mask: Any,
        past: Sequence[tuple[Tensor, Tensor]] | None = None,
    ) -> tuple[Tensor, Tensor | None, list[tuple[Tensor, Tensor]]]:
        """Both streams through all layers.

        ``und`` [B, Tu, d], ``gen`` [B, Tg, d] or None, ``positions`` [B, Tu + Tg], ``mask`` bool
        [B, 1, Tu + Tg, past + Tu + Tg], true where a query may look. Returns the normed streams and
        the fresh keys and values of each layer (none under activation checkpointing).
        """
        decoder = self.language_model.model
        head_dim = self.config.hidden_size // self.config.num_heads
        cos, sin = (x.to(und.dtype) for x in rope(positions, head_dim, self.config.rope_theta))
        cache = []
        recompute = self.checkpointing and past is None and torch.is_grad_enabled()
        for i, layer in enumerate(decoder.layers):
            if recompute:  # a cache would keep what recomputation is to save
                und, gen, _ = checkpoint(layer, und, gen, cos, sin, mask, None, use_reentrant=False)
                continue
            und, gen, fresh = layer(und, gen, cos, sin, mask, None if past is None else past[i])
            cache.append(fresh)
        return decoder.norm(und), None if gen is None else decoder.norm_moe_gen(gen), cache

    def gradient_checkpointing_enable(self, *_: Any, **__: Any) -> None:
        """Recompute each layer in the backward pass; the name and the call are transformers' own."""
        self.checkpointing = True

    def embed(self, ids: Tensor) -> Tensor:
        return self.language_model.model.embed_tokens(ids)

    def patchify(self, latent: Tensor) -> Tensor:
        """[B, C, h, w] to [B, N, patch_dim], patch elements in upstream's (row, column, channel) order."""
        p = self.config.latent_patch_size
        b, c, h, w = latent.shape
        return latent.reshape(b, c, h // p, p, w // p, p).permute(0, 2, 4, 3, 5, 1).reshape(b, -1, p * p * c)

    def unpatchify(self, patches: Tensor) -> Tensor:
        p, s, c = self.config.latent_patch_size, self.config.latent_side, self.config.latent_channels
        grid = patches.reshape(-1, s, s, p, p, c).permute(0, 5, 1, 3, 2, 4)
        return grid.reshape(-1, c, s * p, s * p)

    def latent_tokens(self, x_t: Tensor, t: Tensor) -> Tensor:
        """Noisy patches [B, N, patch_dim] at times [B] to generation tokens [B, N, d]."""
        side, limit = self.config.latent_side, self.config.max_latent_size
        grid = torch.arange(side, device=x_t.device)
        ids = (grid[:, None] * limit + grid).flatten()
        tokens = self.vae2llm(x_t.to(self.vae2llm.weight.dtype))
        return tokens + self.time_embedder(t)[:, None] + self.latent_pos_embed(ids)

    def velocity(self, hidden: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """The flow's velocity ``noise - x0`` [B, N, patch_dim] from the generation stream."""
        out = self.llm2vae(hidden).float()
        if self.config.prediction == "velocity":
            return out
        return (x_t - out) / t.clamp(min=MIN_T)[:, None, None]

    # -- training ------------------------------------------------------------------------------

    def sample_t(self, n: int, device: torch.device, generator: torch.Generator | None) -> Tensor:
        """[n] times: sigmoid of a normal, then upstream's shift towards noise."""
        c = self.config
        t = torch.randn(n, generator=generator, device=device).sigmoid()
        return shifted(t, c.timestep_shift if c.training_shift is None else c.training_shift)

    def forward(self, batch: UnifiedBatch, generator: torch.Generator | None = None) -> UnifiedLoss:
        return self.losses(batch, generator)

    def losses(self, batch: UnifiedBatch, generator: torch.Generator | None = None) -> UnifiedLoss:
        """Per-sample cross-entropy [B] and flow loss [B] in one forward over text and image."""
        return self.reduce(batch, *self.predict(batch, generator))

    def reduce(self, batch: UnifiedBatch, velocity: Tensor, target: Tensor, logits: Tensor) -> UnifiedLoss:
        """A prediction to losses; apart from ``predict`` so that a reference can share its noise."""
        flat = F.cross_entropy(logits.float(), batch.labels[batch.label_mask], reduction="none")
        ce = flat.new_zeros(batch.labels.shape).masked_scatter(batch.label_mask, flat)  # also where none is
        opens = batch.label_mask & (batch.labels == self.border[0])
        words = batch.label_mask & ~opens
        text = (ce * words).sum(1) / words.sum(1).clamp(min=1)
        opening = (ce * opens).sum(1)
        image = (velocity - target).pow(2).mean((1, 2)) * batch.image_mask
        loss = (batch.text_weight * (text + opening)).mean() + (batch.image_weight * image).mean()
        return UnifiedLoss(loss, text, image, opening)

    def predict(
        self, batch: UnifiedBatch, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Velocity and its target [B, N, patch_dim], and the logits at the labelled positions [L, V]."""
        device = batch.input_ids.device
        n, length = batch.input_ids.shape
        drawn = batch.image_mask
        if not bool(drawn.any()):
            return self.predict_text(batch)
        x0 = self.patchify(batch.image.float())
        t = self.sample_t(n, device, generator)
        noise = torch.randn(x0.shape, generator=generator, device=device)
        dropped = torch.rand(n, generator=generator, device=device) < self.config.condition_dropout
        x_t = (1 - t[:, None, None]) * x0 + t[:, None, None] * noise
        borders = torch.tensor(self.border, device=device).expand(n, 2)
        und = self.embed(torch.cat([batch.input_ids, borders], dim=1))
        gen = self.latent_tokens(x_t, t)

        text_length = batch.text_mask.sum(1)
        positions = torch.arange(length, device=device).expand(n, length)
        kept = self.think_length(batch.input_ids)
        at = torch.where(dropped, kept, text_length)[:, None].expand(n, 2 + x0.shape[1])
        sees = batch.text_mask & (~dropped[:, None] | (torch.arange(length, device=device) < kept[:, None]))
        positions = torch.cat([positions, at], dim=1)
        if self.packed:
            packing = Packing.of(batch.text_mask, drawn, x0.shape[1], sees)
            return self.predict_packed(batch, packing, und, gen, positions, x_t, t, noise - x0)
        mask = self.training_mask(batch.text_mask, 2 + x0.shape[1], sees)
        hidden, image, _ = self.run(und, gen, positions, mask)
        assert image is not None
        logits = self.language_model.lm_head(hidden[:, :length][batch.label_mask])
        return self.velocity(image, x_t, t), noise - x0, logits

    def predict_packed(
        self,
        batch: UnifiedBatch,
        packing: Packing,
        und: Tensor,
        gen: Tensor,
        positions: Tensor,
        x_t: Tensor,
        t: Tensor,
        target: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The rest of ``predict`` on one row of the real tokens; velocities are 0 where no picture is."""
        texts, drawn, width = und.shape[1], packing.drawn, gen.shape[1]
        places = torch.cat([positions[:, :texts][packing.und], positions[drawn, texts:].flatten()])
        hidden, image, _ = self.run(
            und[packing.und][None], gen[drawn].flatten(0, 1)[None], places[None], packing.mask()
        )
        assert image is not None
        labelled = F.pad(batch.label_mask, (0, 2))[packing.und]
        velocity = torch.zeros_like(target)
        velocity[drawn] = self.velocity(image[0].unflatten(0, (-1, width)), x_t[drawn], t[drawn])
        return velocity, target, self.language_model.lm_head(hidden[0][labelled])

    def predict_text(self, batch: UnifiedBatch) -> tuple[Tensor, Tensor, Tensor]:
        """``predict`` for a batch without pictures: no generation stream, a velocity of zeros."""
        n, length = batch.input_ids.shape
        positions = torch.arange(length, device=batch.input_ids.device).expand(n, length)
        mask = self.training_mask(batch.text_mask, 0, batch.text_mask)
        hidden, _, _ = self.run(self.embed(batch.input_ids), None, positions, mask)
        nothing = hidden.new_zeros(n, 1, self.config.patch_dim, dtype=torch.float32)
        return nothing, nothing, self.language_model.lm_head(hidden[batch.label_mask])

    def think_length(self, ids: Tensor) -> Tensor:
        """[B] tokens of the thinking prompt that rows of [B, T] begin with: dropped text leaves them in.

        It is what the unconditional branch of the sampler sees too.
        """
        k = len(self.think)
        if not k or ids.shape[1] < k:
            return ids.new_zeros(len(ids))
        return (ids[:, :k] == ids.new_tensor(self.think)).all(1) * k

    @staticmethod
    def training_mask(text_mask: Tensor, image_length: int, sees: Tensor) -> Tensor:
        """[B, 1, S, S]: text is causal, the image sees the text in ``sees`` [B, T] and all of itself."""
        n, length = text_mask.shape
        causal = torch.ones(length, length, dtype=torch.bool, device=text_mask.device).tril()
        eye = torch.eye(length, dtype=torch.bool, device=text_mask.device)  # padding rows see themselves
        text = (causal & text_mask[:, None, :]) | eye
        sees = sees[:, None, :].expand(n, image_length, length)
        top = torch.cat([text, text.new_zeros(n, length, image_length)], dim=2)
        bottom = torch.cat([sees, sees.new_ones(n, image_length, image_length)], dim=2)
        return torch.cat([top, bottom], dim=1)[:, None]
