"""FSDP2: parameters, gradients and optimizer states in shards over the processes of one launch.

``torchrun --nproc-per-node 8 -m datagen train --shard``: each decoder layer is a unit that is gathered
when it runs, and what is left over (tables, heads, the flow's projections) is one more. It is torch's own
``fully_shard``, before Trainer sees the model: accelerate's wrapper does not work on CPUs, where the tests
must run. Checkpoints are ``torch.distributed.checkpoint``'s: each process writes its shards, and another
number of processes can read them. Every process loads the model in main memory before it is sharded.

The hazard: gradients are reduced for whole units, and a process whose micro-batch has no picture would
have none for the generation expert while the others wait. ``always_draw`` makes every process run both
experts in every batch, with a picture whose loss is masked.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

SHARDS = "shards"


def shard(root: nn.Module, module: nn.Module, bf16: bool = False) -> None:
    """Shard ``module``'s layers, then what is left under ``root``, in place. Needs a process group.

    ``root`` is what is called in training and holds ``module``: its call gathers what no layer holds.
    """
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    policy = MixedPrecisionPolicy(
        param_dtype=torch.bfloat16 if bf16 else None, reduce_dtype=torch.float32 if bf16 else None
    )
    for block in blocks(module):
        fully_shard(block, mp_policy=policy)
    fully_shard(root, mp_policy=policy)
    if hasattr(module, "always_draw"):
        module.always_draw = True


def blocks(module: nn.Module) -> list[nn.Module]:
    """The members of the largest ``ModuleList``: the decoder's layers in every model here."""
    lists = [m for m in module.modules() if isinstance(m, nn.ModuleList)]
    return list(max(lists, key=lambda m: sum(p.numel() for p in m.parameters()), default=[]))


def whole(value: Any) -> Any:
    """A sharded tensor gathered, on every process; anything else as it is."""
    return value.full_tensor() if isinstance(value, Tensor) and hasattr(value, "full_tensor") else value


def spread(value: Tensor, like: Tensor) -> Tensor:
    """A whole tensor in shards as ``like`` is, or as it is."""
    if not hasattr(like, "full_tensor"):
        return value
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements)


def gathered(module: nn.Module) -> dict[str, Tensor]:
    """The whole state on the CPU, one tensor at a time. Every process must call it."""
    return {name: whole(value.detach()).cpu() for name, value in module.state_dict().items()}


def save_shards(folder: Path, module: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """What trains and its optimizer's state, each process its own shards."""
    import torch.distributed.checkpoint as dcp

    dcp.save(_state(module, optimizer), checkpoint_id=folder / SHARDS)


def load_shards(folder: Path, module: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """The inverse of ``save_shards``, in place."""
    import torch.distributed.checkpoint as dcp
    from torch.distributed.checkpoint.state_dict import StateDictOptions, set_state_dict

    state = _state(module, optimizer)
    dcp.load(state, checkpoint_id=folder / SHARDS)
    set_state_dict(
        module, optimizer, model_state_dict=state["model"], optim_state_dict=state["optimizer"],
        options=StateDictOptions(strict=False),
    )  # fmt: skip


def _state(module: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict

    model, states = get_state_dict(module, optimizer, options=StateDictOptions(ignore_frozen_params=True))
    return {"model": model, "optimizer": states}
