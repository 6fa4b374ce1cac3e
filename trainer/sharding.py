"""FSDP2: parameters, gradients and optimizer states in shards over the processes of one launch.

``torchrun --nproc-per-node 8 -m datagen train --shard`` in short: each decoder layer is a unit that is
gathered when it runs, and what is left over (tables, heads, the flow's projections) is one more. It is
``torch.distributed.fsdp.fully_shard`` itself: accelerate wraps a model only under its own launcher, and
not on CPUs, where the tests must run.

The hazard: gradients are reduced for whole units, and a process whose micro-batch has no picture would
have none for the generation expert while the others wait. ``always_draw`` makes every process run both
experts in every batch, with a picture whose loss is masked.
"""

from typing import Any

import torch
from torch import Tensor, nn


def shard(root: nn.Module, module: nn.Module, bf16: bool = False) -> None:
    """Shard ``module``'s layers, then what is left under ``root``, in place. Needs a process group.

    ``root`` is what is called in training and holds ``module``: its call gathers what no layer holds.
    """
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    dtype = torch.bfloat16 if bf16 else None
    policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32 if bf16 else None)
    for block in blocks(module):
        fully_shard(block, mp_policy=policy)
    fully_shard(root, mp_policy=policy)
    if hasattr(module, "always_draw"):
        module.always_draw = True  # type: ignore[assignment]


def blocks(module: nn.Module) -> list[nn.Module]:
    """The members of the largest ``ModuleList``: the decoder's layers in every model here."""
    lists = [m for m in module.modules() if isinstance(m, nn.ModuleList)]
    return list(max(lists, key=lambda m: sum(p.numel() for p in m.parameters()), default=[]))


def whole(value: Any) -> Any:
    """A sharded tensor gathered, on every process; anything else as it is."""
    return value.full_tensor() if isinstance(value, Tensor) and hasattr(value, "full_tensor") else value
