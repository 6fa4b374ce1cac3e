"""The reward-weighted loss, a mean over samples of each term:

    lambda_text * w_text * (CE(trace) + lambda_opening * CE(opening token)) + lambda_image * w_image * flow

``Policy`` gives its per-sample terms, and the drift from the untrained model that a penalty weighs.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from datagen.errors import InputError
from datagen.models.base import UnifiedBatch, UnifiedLoss, UnifiedModel


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


class Policy(nn.Module):
    """The unified model as one callable module, so that Trainer can wrap it."""

    _keys_to_ignore_on_save = None  # Trainer asks when a checkpoint lacks weights: the frozen ones

    def __init__(self, model: UnifiedModel, penalty: float) -> None:
        super().__init__()
        self.module = model.module
        self.model = [model]  # in a list, not a submodule: a model may itself be an nn.Module
        self.reference: Any = None
        if penalty:
            if not hasattr(model.module, "predict"):
                raise InputError(f"model {model.name!r} has no velocities to hold to a reference")
            self.reference = [copy.deepcopy(model.module).eval().requires_grad_(False)]  # not a submodule

    def forward(self, batch: UnifiedBatch) -> tuple[UnifiedLoss, Tensor]:
        """Per-sample losses [B], and the drift from the reference []."""
        if self.reference is None:
            out = self.model[0].losses(batch)
            return out, out.text.new_zeros(())
        network: Any = self.module
        device = batch.input_ids.device
        seed = int(torch.randint(2**31, ()))
        velocity, target, logits = network.predict(batch, torch.Generator(device).manual_seed(seed))
        with torch.no_grad():
            anchor, _, _ = self.reference[0].predict(batch, torch.Generator(device).manual_seed(seed))
        out = network.reduce(batch, velocity, target, logits)
        drift = ((velocity - anchor).pow(2).mean((1, 2)) * batch.image_mask).mean()
        return out, drift
