"""How to train. The defaults are what worked on the pocket model; see ``docs/study.md``."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from datagen.errors import InputError

Modality = Literal["text", "image"]
LOGGERS = ("tensorboard", "trackio", "wandb")
OPTIMIZERS = ("adamw", "adamw8bit")
MODALITIES: tuple[Modality, ...] = ("text", "image")


@dataclass(frozen=True)
class TrainConfig:
    """``weight``: the modalities that are trained, each by its weights; empty is plain SFT on both.

    Text and generation experts have their own rates: their faults want different ones. ``ema`` 0
    turns averaging off. ``reference_penalty`` weighs the squared distance of the velocity from the
    untrained model's, on the same noise; ``reference_kl`` weighs KL(policy || untrained) of the trace's tokens.
    """

    data: Path
    out: Path
    model: str = "pocket"
    weight: tuple[Modality, ...] = MODALITIES
    epochs: float = 3.0
    steps: int | None = None  # overrides epochs
    batch_size: int = 16
    accumulate: int = 1
    text_lr: float | None = None  # None: by the model's size, see trainer.arguments.RATES
    image_lr: float | None = None
    head_ratio: float = 5.0  # the text head's rate over text_lr; see trainer.parameters
    text_scale: float = 1.0  # lambda_text
    image_scale: float = 1.0  # lambda_image
    opening_scale: float = 1.0  # lambda_opening: the token that opens the image, once a sample
    warmup: float = 0.1
    ema: float = 0.98
    reference_penalty: float = 0.0
    reference_kl: float = 0.0
    lora: int | None = None  # rank; 0 trains all parameters, None is 16 above a billion of them, else 0
    optimizer: Literal["adamw", "adamw8bit"] = "adamw"
    report_to: tuple[str, ...] = ()  # of LOGGERS, beside log.jsonl
    eval_every: int = 0  # steps between calls of the evaluation hook; 0 never
    pack: bool | None = None  # rows without padding; None: above a billion parameters, where the model can
    shard: bool = False  # FSDP2 over the processes of a launch, see trainer.sharding
    max_grad_norm: float = 1.0
    bf16: bool = True
    seed: int = 0
    resume: bool = False
    save_steps: int = 50

    def __post_init__(self) -> None:
        if unknown := set(self.weight) - set(MODALITIES):
            valid = "text,image / text / image / none"
            raise InputError(f"--weight: unknown modality {sorted(unknown)[0]!r}; valid: {valid}")
        least = {
            "batch_size": 1,
            "accumulate": 1,
            "save_steps": 1,
            "eval_every": 0,
            "warmup": 0,
            "max_grad_norm": 0,
        }
        least |= dict.fromkeys(
            (
                "text_scale",
                "image_scale",
                "opening_scale",
                "head_ratio",
                "reference_penalty",
                "reference_kl",
            ),
            0,
        )
        least |= {name: 0 for name in ("lora", "text_lr", "image_lr") if getattr(self, name) is not None}
        if strange := sorted(set(self.report_to) - set(LOGGERS)):
            raise InputError(f"report_to: unknown logger {strange[0]!r}; valid: {', '.join(LOGGERS)}")
        if self.optimizer not in OPTIMIZERS:
            raise InputError(f"optimizer is {self.optimizer!r}; valid: {', '.join(OPTIMIZERS)}")
        for name, low in least.items():
            if not low <= getattr(self, name) < math.inf:
                raise InputError(f"{name} is {getattr(self, name)}; valid: a number >= {low}")
        if self.steps is not None and self.steps < 1:
            raise InputError(f"steps is {self.steps}; valid: a whole number >= 1, or none to use epochs")
        if not 0 < self.epochs < math.inf:
            raise InputError(f"epochs is {self.epochs}; valid: a number > 0")
        if not 0 <= self.ema < 1:
            raise InputError(f"ema is {self.ema}; valid: 0 (off) to below 1")


def parse_weight(text: str) -> tuple[Modality, ...]:
    """``text,image``, ``text``, ``image`` or ``none``."""
    if text.strip() == "none":
        return ()
    parts = [p.strip() for p in text.split(",") if p.strip()]
    if not parts or any(p not in MODALITIES for p in parts):
        raise InputError(f"--weight {text!r}: valid: text,image / text / image / none")
    return tuple(m for m in MODALITIES if m in parts)
