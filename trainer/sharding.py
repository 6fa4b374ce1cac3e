"""FSDP2: parameters, gradients and optimizer states in shards over the processes of one launch.

``torchrun --nproc-per-node 8 -m datagen train --shard``: each decoder layer is a unit that is gathered
when it runs, and what is left over (tables, heads, the flow's projections) is one more. It is torch's own
``fully_shard``, before Trainer sees the model: accelerate's wrapper does not work on CPUs, where the tests
must run. Checkpoints are ``torch.distributed.checkpoint``'s: each process writes its shards, and another
number of processes can read them. Every process loads the model in main memory before it is sharded.
What never runs in a step (codecs, towers) stays whole and apart. Weights become float32 a layer at a time,
so that main memory never holds a large model twice.

The hazard: gradients are reduced for whole units, and a process whose micro-batch has no picture, or no
text to learn, would have none for some weights while the others wait. FSDP2 is told to send zeros for them.
"""

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from datagen.errors import InputError
from trainer.parameters import widen

SHARDS = "shards"


def shard(
    root: nn.Module,
    module: nn.Module,
    bf16: bool = False,
    everything: bool = True,
    resting: Collection[nn.Parameter] = (),
    device: torch.device | str = "cpu",
) -> None:
    """Shard ``module``'s layers, then what is left under ``root``, in place. Needs a process group.

    ``root`` is what is called in training and holds ``module``: its call gathers what no layer holds.
    ``everything`` is ``widen``'s; parameters that are ``resting`` are moved to ``device`` and not sharded.
    """
    from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard

    if not hasattr(FSDPModule, "set_reduce_scatter_unused_params"):
        raise InputError("--shard needs a newer torch, one whose FSDP2 has set_reduce_scatter_unused_params")
    apart = set(resting)
    policy = MixedPrecisionPolicy(
        param_dtype=torch.bfloat16 if bf16 else None, reduce_dtype=torch.float32 if bf16 else None
    )
    for p in apart:
        p.data = p.data.to(device)
    if everything:
        widen(module, everything)
    for unit in [*blocks(module, apart), root]:
        widen(unit, False)
        fully_shard(unit, mp_policy=policy, ignored_params=apart)
    root.set_reduce_scatter_unused_params(True)


def beside(model: Any, device: torch.device | str, bf16: bool) -> None:
    """A pipeline's other networks (text encoders) on ``device``: they run in a step, and are not sharded."""
    for part in getattr(getattr(model, "pipe", None), "components", {}).values():
        if isinstance(part, nn.Module) and part is not model.module:
            part.to(device, torch.bfloat16 if bf16 else None)


def blocks(module: nn.Module, resting: Collection[nn.Parameter] = ()) -> list[nn.Module]:
    """The members of the ``ModuleList`` with most parameters that run: the decoder's layers in every model here."""
    lists = [m for m in module.modules() if isinstance(m, nn.ModuleList)]
    apart = {id(p) for p in resting}

    def runs(m: nn.Module) -> int:
        return sum(p.numel() for p in m.parameters() if id(p) not in apart)

    return list(max(lists, key=runs, default=[]))


def whole(value: Any) -> Any:
    """A sharded tensor gathered, on every process; anything else as it is."""
    return value.full_tensor() if isinstance(value, Tensor) and hasattr(value, "full_tensor") else value


def spread(value: Tensor, like: Tensor) -> Tensor:
    """A whole tensor in shards as ``like`` is, or as it is."""
    if not hasattr(like, "full_tensor"):
        return value
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements)


def gathered(tensors: Iterable[Tensor]) -> list[Tensor]:
    """Whole and on the CPU, one at a time, in the first process; nothing in the others, which must call it too."""
    first = not dist.is_initialized() or dist.get_rank() == 0
    out = []
    for tensor in tensors:
        value = whole(tensor.detach())
        if first:
            out.append(value.cpu())
    return out


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
