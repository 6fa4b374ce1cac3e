"""The reward-weighted loss: lambda_text * mean(w_text * CE) + lambda_image * mean(w_image * flow)."""

from torch import Tensor

from datagen.models.base import UnifiedBatch, UnifiedLoss


def weighted_loss(out: UnifiedLoss, batch: UnifiedBatch, text_scale: float, image_scale: float) -> Tensor:
    """A scalar from per-sample losses [B] and weights [B] >= 0, which are constants to the gradient.

    A negative weight would make the flow loss unbounded below, so it is refused.
    """
    text, image = batch.text_weight.detach(), batch.image_weight.detach()
    if bool((text < 0).any()) or bool((image < 0).any()):
        raise ValueError("weights must be >= 0")
    return text_scale * (text * out.text).mean() + image_scale * (image * out.image).mean()
