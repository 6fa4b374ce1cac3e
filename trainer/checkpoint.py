"""What training adds to a model's state: averaged weights, and adapters that are merged on saving."""

from pathlib import Path

import torch
from torch import nn

from datagen.errors import InputError


class Average:
    """Exponential moving average of the trainable parameters, with the usual warm-up of its rate."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay, self.steps = decay, 0
        self.parameters = [p for p in module.parameters() if p.requires_grad]
        self.shadow = [p.detach().clone() for p in self.parameters]

    @torch.no_grad()
    def update(self) -> None:
        self.steps += 1
        keep = min(self.decay, (1 + self.steps) / (10 + self.steps))
        torch._foreach_lerp_(self.shadow, [p.detach() for p in self.parameters], 1 - keep)

    @torch.no_grad()
    def apply(self) -> None:
        """Put the averages into the module."""
        for p, s in zip(self.parameters, self.shadow, strict=True):
            p.copy_(s)

    def save(self, path: Path) -> None:
        torch.save({"steps": self.steps, "shadow": self.shadow}, path)

    def load(self, path: Path) -> None:
        saved = torch.load(path, weights_only=True)
        self.steps = saved["steps"]
        for s, x in zip(self.shadow, saved["shadow"], strict=True):
            s.copy_(x)


def add_lora(module: nn.Module, rank: int) -> None:
    """Put LoRA adapters on every linear layer of the decoder, in place; only they train."""
    from peft import LoraConfig, inject_adapter_in_model

    names = sorted({n.rsplit(".", 1)[-1] for n, m in module.named_modules() if isinstance(m, nn.Linear)})
    names = [n for n in names if "_proj" in n]
    if not names:
        raise InputError("this model has no attention or MLP projections for LoRA")
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=names), module)


def merge_lora(module: nn.Module) -> None:
    """Fold adapters into the weights, so that what is saved is an ordinary checkpoint."""
    from peft.tuners.lora import LoraLayer

    for name, layer in list(module.named_modules()):
        if isinstance(layer, LoraLayer):
            layer.merge()
            parent = module.get_submodule(name.rsplit(".", 1)[0])
            setattr(parent, name.rsplit(".", 1)[1], layer.get_base_layer())
