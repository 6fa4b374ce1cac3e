"""The reward-weighted loss, a mean over samples of each term:

    lambda_text * w_text * (CE(trace) + lambda_opening * CE(opening token)) + lambda_image * w_image * flow

``Policy`` gives its per-sample terms, and how far it is from the untrained model, for penalties to weigh: the
squared distance of the velocities on the same noise, and KL(policy || reference) of the labelled tokens. Left
out: the KL of an image's codes, for which the codes' logits of two models would be held at once.
"""

import copy
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from datagen.errors import InputError
from datagen.models.base import UnifiedBatch, UnifiedLoss, UnifiedModel
from trainer.adapters import adapted, without_adapters

CHUNK = 512  # tokens whose probabilities, over a vocabulary of 150,000, are held at once


def weighted_loss(
    out: UnifiedLoss,
    batch: UnifiedBatch,
    text_scale: float = 1.0,
    image_scale: float = 1.0,
    opening_scale: float = 1.0,
    count: float | None = None,
) -> Tensor:
    """A scalar from per-sample losses [B] and weights [B] >= 0, which are constants to the gradient.

    ``count`` divides the sum, by default the samples of this batch: a step that is made of several
    batches gives all of its samples, so that the samples of a short last batch count no more than others.
    A negative weight would make the flow loss unbounded below, so it is refused.
    """
    text, image = batch.text_weight.detach(), batch.image_weight.detach()
    if bool((text < 0).any()) or bool((image < 0).any()):
        raise ValueError("weights must be >= 0")
    written = out.text + opening_scale * out.opening
    total = text_scale * (text * written).sum() + image_scale * (image * out.image).sum()
    return total / (len(text) if count is None else count)


def divergence(logits: Tensor, anchor: Tensor, labelled: Tensor) -> Tensor:
    """KL(policy || reference) [B], a mean over the tokens of each row that ``labelled`` [B, T] marks.

    ``logits`` and ``anchor`` [L, V] are those of the marked tokens, row by row.
    """
    parts = zip(logits.split(CHUNK), anchor.split(CHUNK), strict=True)
    each = torch.cat([checkpoint(_kl, mine, theirs, use_reentrant=False) for mine, theirs in parts])
    spread = each.new_zeros(labelled.shape).masked_scatter(labelled, each)
    return spread.sum(1) / labelled.sum(1).clamp(min=1)


def _kl(logits: Tensor, anchor: Tensor) -> Tensor:
    mine, theirs = logits.float().log_softmax(-1), anchor.float().log_softmax(-1)
    return (mine.exp() * (mine - theirs)).sum(-1)


class Distance(NamedTuple):
    """From the reference, means over the samples of a batch []."""

    velocity: Tensor
    kl: Tensor


class Policy(nn.Module):
    """The unified model as one callable module, so that Trainer can wrap it.

    Its reference, where a penalty needs one, is the model with its adapters off, or else a copy.
    """

    _keys_to_ignore_on_save = None  # Trainer asks when a checkpoint lacks weights: the frozen ones

    def __init__(self, model: UnifiedModel, penalty: float = 0.0, kl: float = 0.0) -> None:
        super().__init__()
        self.module = model.module
        self.model = [model]  # in a list, not a submodule: a model may itself be an nn.Module
        self.flows = hasattr(model.module, "velocity")
        if penalty and not self.flows:
            raise InputError(f"model {model.name!r} has no velocities to hold to a reference")
        if kl and not hasattr(predictor(model), "predict"):
            raise InputError(f"model {model.name!r} has no tokens to hold to a reference")
        self.reference: Any = None
        if penalty or kl:
            self.reference = [model if adapted(model.module) else frozen(model)]  # not a submodule

    def forward(self, batch: UnifiedBatch) -> tuple[UnifiedLoss, Distance]:
        """Per-sample losses [B], and the distance from the reference."""
        if self.reference is None:
            out = self.model[0].losses(batch)
            nothing = out.text.new_zeros(())
            return out, Distance(nothing, nothing)
        policy, reference = predictor(self.model[0]), predictor(self.reference[0])
        device = batch.input_ids.device
        seed = int(torch.randint(2**31, ()))
        with torch.no_grad(), without_adapters(self.reference[0].module):
            theirs = reference.predict(batch, torch.Generator(device).manual_seed(seed))
        mine = policy.predict(batch, torch.Generator(device).manual_seed(seed))
        out = policy.reduce(batch, *mine)
        kl = divergence(mine[2], theirs[2], batch.label_mask).mean()
        drift = kl.new_zeros(())
        if self.flows:
            drift = ((mine[0] - theirs[0]).pow(2).mean((1, 2)) * batch.image_mask).mean()
        return out, Distance(drift, kl)


def predictor(model: Any) -> Any:
    """What has ``predict`` and ``reduce``: the model, or a network that is the whole of it."""
    return model if hasattr(model, "predict") else model.module


def frozen(model: Any) -> Any:
    """The same model on a copy of its network that does not train."""
    twin = copy.copy(model)
    twin.network = copy.deepcopy(model.module).eval().requires_grad_(False)
    return twin
