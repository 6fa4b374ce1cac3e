"""The bundled reward-weighted trainer: ``from trainer import TrainConfig, train``."""

from typing import TYPE_CHECKING

from trainer.config import TrainConfig, parse_weight

if TYPE_CHECKING:
    from trainer.trainer import TrainSummary, train

__all__ = ["TrainConfig", "TrainSummary", "parse_weight", "train"]


def __getattr__(name: str) -> object:
    """``train`` and ``TrainSummary`` load torch, so only when they are asked for."""
    if name in ("train", "TrainSummary"):
        from trainer import trainer

        return getattr(trainer, name)
    raise AttributeError(name)
