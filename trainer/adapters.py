"""LoRA adapters on a model: put on, switched off for a reference, kept in peft's own files, folded in."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from datagen.errors import InputError

# Attention and MLP projections: language models' names, and those of diffusers' attention.
ADAPTED = re.compile(r"_proj[^.]*$|\bto_[qkv]$|\bto_out\.0$")
NAME = "default"  # peft's, of an adapter that has no other
FOLDER = "adapter"  # not beside config.json: transformers would load the adapter onto what it is merged into


def add_lora(module: nn.Module, rank: int) -> None:
    """Put LoRA adapters on the decoder's linear layers and on the head, in place; only they train.

    The head has one because the opening token is taught there; not where it is tied to the embedding.
    Layers that a model froze (its codec, the tower that looks at images) get none. Adapters are float32
    whatever the model is, and leave casting to autocast: peft would copy each input to float32 first.
    """
    from peft import LoraConfig, inject_adapter_in_model

    linear = [n for n, m in module.named_modules() if isinstance(m, nn.Linear) and m.weight.requires_grad]
    names = [n for n in linear if ADAPTED.search(n)]
    if not names:
        raise InputError("this model has no attention or MLP projections for LoRA")
    tied = {id(m.weight) for m in module.modules() if isinstance(m, nn.Embedding)}
    heads = [n for n, m in module.named_modules() if n.endswith("lm_head") and id(m.weight) not in tied]
    names += ["lm_head"] if heads else []
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=names), module)
    for _, layer in adapted(module):
        layer.cast_input_dtype_enabled = False
        for p in layer.parameters():
            if p.requires_grad:
                p.data = p.data.float()


def adapted(module: nn.Module) -> list[tuple[str, Any]]:
    """The layers that have an adapter, by name."""
    from peft.tuners.lora import LoraLayer

    return [(name, layer) for name, layer in module.named_modules() if isinstance(layer, LoraLayer)]


@contextmanager
def without_adapters(module: nn.Module) -> Iterator[None]:
    """The model as it was before training; without adapters there is nothing to switch.

    Not by peft's own ``enable_adapters``, which also stops and starts their gradients.
    """
    layers = adapted(module)
    for _, layer in layers:
        layer._disable_adapters = True
    try:
        yield
    finally:
        for _, layer in layers:
            layer._disable_adapters = False


def save_adapter(module: nn.Module, folder: Path, base: str) -> None:
    """``adapter_model.safetensors`` and ``adapter_config.json``, as ``PeftModel.from_pretrained`` reads them.

    ``base`` is what they were trained on. Before they are merged: folded into bfloat16 weights an adapter
    loses bits, and here it keeps them.
    """
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    config = module.peft_config[NAME]
    config.base_model_name_or_path, config.inference_mode = base, True
    config.save_pretrained(folder)
    state = get_peft_model_state_dict(module, adapter_name=NAME, save_embedding_layers=False)
    state = {f"base_model.model.{name}": t.detach().cpu().contiguous() for name, t in state.items()}
    save_file(state, folder / "adapter_model.safetensors", metadata={"format": "pt"})


def merge_lora(module: nn.Module) -> None:
    """Fold adapters into the weights, so that what is saved is an ordinary checkpoint."""
    for name, layer in adapted(module):
        layer.merge()
        _put(module, name, layer.get_base_layer())


@contextmanager
def merged(module: nn.Module) -> Iterator[None]:
    """``merge_lora`` for a while. The weights come back bit for bit, from copies in the host's memory.

    Subtracting the adapters again, as peft does, would leave rounding errors that grow with every visit.
    """
    layers = adapted(module)
    kept = [layer.get_base_layer().weight.detach().to("cpu", copy=True) for _, layer in layers]
    merge_lora(module)
    try:
        yield
    finally:
        for (name, layer), weight in zip(layers, kept, strict=True):
            with torch.no_grad():
                layer.get_base_layer().weight.copy_(weight)
            layer.merged_adapters.clear()
            _put(module, name, layer)


def _put(module: nn.Module, name: str, layer: nn.Module) -> None:
    parent, _, leaf = name.rpartition(".")  # a head has no parent but the module itself
    setattr(module.get_submodule(parent), leaf, layer)
