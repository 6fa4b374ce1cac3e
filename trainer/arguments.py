"""``TrainConfig`` as ``transformers`` and peft want it: arguments, adapter rank, the optimizer's class."""

from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import TrainingArguments

from datagen.errors import InputError
from trainer.config import TrainConfig

LORA_ABOVE = 1_000_000_000  # parameters above which adapters and recomputation are the default
LORA_RANK = 16
EVALUATION = 24 * 3600  # seconds that one may take
# (text, image) rates. Of the pocket model: found on it. Above a billion parameters:
# not tried here; R3 takes 5e-6 to train both modalities of BAGEL whole, and adapters want ten times as much.
RATES = {"small": (4e-4, 1e-4), "large": (1e-5, 5e-6), "large, adapters": (1e-4, 5e-5)}


def is_large(module: nn.Module) -> bool:
    return sum(p.numel() for p in module.parameters()) > LORA_ABOVE


def lora_rank(config: TrainConfig, module: nn.Module) -> int:
    """The rank asked for; by default 16 for a model above a billion parameters and 0, all, below."""
    if config.lora is not None:
        return config.lora
    return LORA_RANK if is_large(module) else 0


def rates(config: TrainConfig, module: nn.Module, rank: int) -> tuple[float, float]:
    """The text and the image rate asked for, or those for a model of this size, trained whole or by adapters."""
    text, image = RATES["small" if not is_large(module) else "large, adapters" if rank else "large"]
    return (
        text if config.text_lr is None else config.text_lr,
        image if config.image_lr is None else config.image_lr,
    )


def recompute(module: nn.Module) -> bool:
    """Turn activation checkpointing on in a model above a billion parameters that has it; whether it did."""
    if not is_large(module):
        return False
    for name in ("gradient_checkpointing_enable", "enable_gradient_checkpointing"):  # transformers, diffusers
        if enable := getattr(module, name, None):
            enable()
            return True
    return False


def pack(config: TrainConfig, module: nn.Module) -> None:
    """Train on packed rows where that is asked for, by default above a billion parameters.

    Raises ``InputError`` for a model that cannot.
    """
    can = hasattr(module, "packed")
    if config.pack and not can:
        raise InputError("--pack: this model trains on padded rows only; BAGEL can be packed")
    if can:
        module.packed = is_large(module) if config.pack is None else config.pack


def optimizer_class(config: TrainConfig) -> Any:
    """AdamW, or torchao's with 8-bit states (a quarter of the memory)."""
    if config.optimizer == "adamw":
        return torch.optim.AdamW
    try:
        from torchao.optim import AdamW8bit
    except ImportError as error:
        raise InputError("optimizer adamw8bit needs torchao: pip install 'datagen[train]'") from error
    return AdamW8bit


def training_arguments(config: TrainConfig, state: Path) -> TrainingArguments:
    """Arguments for ``transformers.Trainer``, its checkpoints and its logs under ``state``."""
    arguments = TrainingArguments(
        output_dir=str(state),
        per_device_train_batch_size=config.batch_size,
        gradient_accumulation_steps=config.accumulate,
        num_train_epochs=config.epochs,
        max_steps=config.steps or -1,
        warmup_steps=config.warmup,
        lr_scheduler_type="cosine",
        max_grad_norm=config.max_grad_norm,
        bf16=config.bf16,
        use_cpu=not torch.cuda.is_available(),
        seed=config.seed,
        data_seed=config.seed,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        report_to=list(config.report_to),
        disable_tqdm=True,
        logging_steps=10,
        logging_first_step=True,
        save_steps=config.save_steps,
        save_total_limit=2,
        eval_strategy="no",
        # The others wait while the first process evaluates.
        ddp_timeout=EVALUATION if config.eval_every else 1800,
    )
    # Trainer would wrap the policy in DataParallel, which cannot scatter a UnifiedBatch. Several
    # devices are for a launcher (torchrun, accelerate): one process each.
    arguments._n_gpu = min(arguments.n_gpu, 1)
    return arguments
