"""What a model that draws token by token loses on a batch: first what it says, then how far off that is.

The two are apart so that a reference can be asked the same: ``predict`` draws which texts are dropped from
its generator, and from nothing else. Left out: logits of all codes at once. Of Emu3's 8,100 codes a picture
they would be 1 GB a sample, so ``predict`` keeps hidden states, and ``reduce`` takes a chunk at a time.
"""

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from datagen.models.base import UnifiedBatch, UnifiedLoss

if TYPE_CHECKING:
    from datagen.models.vq import VQModel

CHUNK = 1024  # code positions whose logits are held at once


def predict(
    model: "VQModel", batch: UnifiedBatch, generator: torch.Generator | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Hidden states that predict the codes [B, N, d], the rows without their text [B], logits [L, V].

    Logits are those of the labelled positions. With probability ``condition_dropout`` a row's text is
    replaced by what guidance compares with, for that to stay trained.
    """
    n, length = batch.input_ids.shape
    device = batch.input_ids.device
    dropped = torch.rand(n, generator=generator, device=device) < model.settings.condition_dropout
    dropped = dropped & batch.image_mask
    ids, real = batch.input_ids.clone(), batch.text_mask.clone()
    for i in dropped.nonzero()[:, 0].tolist():
        other = model.unconditional(int(real[i].sum()))
        ids[i, : len(other)] = torch.tensor(other, device=device)
        real[i] = torch.arange(length, device=device) < len(other)
    embedded = model.network.get_input_embeddings()(ids)
    positions = torch.arange(length, device=device).expand(n, length)
    at = positions.new_zeros(0)
    if bool(batch.image_mask.any()):
        tokens, at = image_tokens(model, batch.image)
        embedded = torch.cat([embedded, tokens.to(embedded.dtype)], dim=1)
        steps = torch.arange(tokens.shape[1], device=device)
        positions = torch.cat([positions, real.sum(1)[:, None] + steps], dim=1)
        real = torch.cat([real, batch.image_mask[:, None].expand(-1, len(steps))], dim=1)
    hidden = model.decoder(
        inputs_embeds=embedded, attention_mask=real.long(), position_ids=positions, use_cache=False
    ).last_hidden_state
    logits = model.network.lm_head(hidden[:, :length][batch.label_mask])
    return hidden[:, length:][:, at], dropped, logits


def reduce(
    model: "VQModel", batch: UnifiedBatch, states: Tensor, dropped: Tensor, logits: Tensor
) -> UnifiedLoss:
    """Per-sample cross-entropy of the trace, of the opening token, and of the codes (nats a code).

    The text terms of a row whose text was dropped are 0, as if absent.
    """
    flat = F.cross_entropy(logits.float(), batch.labels[batch.label_mask], reduction="none")
    ce = flat.new_zeros(batch.labels.shape).masked_scatter(batch.label_mask, flat)
    supervised = batch.label_mask & ~dropped[:, None]
    opens = supervised & (batch.labels == model.boi)
    words = supervised & ~opens
    text = (ce * words).sum(1) / words.sum(1).clamp(min=1)
    opening = (ce * opens).sum(1)
    image = text.new_zeros(len(text))
    if states.shape[1]:
        parts = zip(states.split(CHUNK, 1), batch.image.split(CHUNK, 1), strict=True)
        total = sum(checkpoint(_code_loss, model, h, c, use_reentrant=False) for h, c in parts)
        image = total / batch.image.shape[1] * batch.image_mask
    loss = (batch.text_weight * (text + opening)).mean() + (batch.image_weight * image).mean()
    return UnifiedLoss(loss, text, image, opening)


def _code_loss(model: "VQModel", hidden: Tensor, codes: Tensor) -> Tensor:
    logits = model.code_logits(hidden).float()
    return F.cross_entropy(logits.transpose(1, 2), codes, reduction="none").sum(1)


def image_tokens(model: "VQModel", codes: Tensor) -> tuple[Tensor, Tensor]:
    """Embeddings [B, M, d] of the block without its last code, and where [N] each code is predicted."""
    block = model.block()
    slots = [i for i, token in enumerate(block) if token is None]
    given = torch.tensor([model.pad if t is None else t for t in block], device=codes.device)
    out = model.network.get_input_embeddings()(given).expand(len(codes), -1, -1).clone()
    out[:, slots] = model.embed_codes(codes).to(out.dtype)
    return out[:, :-1], torch.tensor(slots, device=codes.device) - 1
