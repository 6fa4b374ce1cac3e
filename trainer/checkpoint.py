"""What training keeps of a model: averages, the precision it is stored in, and where to go on.

Left out: the optimizer, the schedule and the random states, which are in Trainer's own checkpoints.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from datagen.errors import InputError
from trainer.sharding import gathered, spread


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

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The averages in the module for a while, then the weights being trained again."""
        kept = [p.detach().clone() for p in self.parameters]
        self.apply()
        try:
            yield
        finally:
            with torch.no_grad():
                for p, k in zip(self.parameters, kept, strict=True):
                    p.copy_(k)

    def save(self, path: Path) -> None:
        """Whole or not at all: ``last_checkpoint`` takes the file as proof of a finished checkpoint."""
        partial = path.with_suffix(".partial")
        shadow = gathered(self.shadow)  # one at a time: whole, they are more than a GPU has left
        if not dist.is_initialized() or dist.get_rank() == 0:
            torch.save({"steps": self.steps, "shadow": shadow}, partial)
            os.replace(partial, path)

    def load(self, path: Path) -> None:
        saved = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
        self.steps = saved["steps"]
        for s, x in zip(self.shadow, saved["shadow"], strict=True):
            s.copy_(spread(x, s))


@contextmanager
def stored(module: nn.Module, dtypes: Mapping[str, torch.dtype]) -> Iterator[None]:
    """The parameters in ``dtypes`` for a while, to be saved: a checkpoint of bfloat16 stays one."""
    kept = []
    for name, p in module.named_parameters():
        if (dtype := dtypes.get(name, p.dtype)) != p.dtype:
            kept.append((p, p.data))
            p.data = p.data.to(dtype)
    try:
        yield
    finally:
        for p, data in kept:
            p.data = data


def begin(state: Path, settings: dict[str, Any]) -> None:
    """Start afresh in ``state``. Another run's checkpoints must go: a later resume would take them up."""
    state.mkdir(parents=True, exist_ok=True)
    for old in state.glob("checkpoint-*"):
        shutil.rmtree(old)
    (state / "settings.json").write_text(json.dumps(settings, indent=2) + "\n")


def last_checkpoint(state: Path, settings: dict[str, Any]) -> Path:
    """The newest whole checkpoint.

    Raises ``InputError`` when there is none, or when it was begun with other settings or data.
    """
    done = [p for p in state.glob("checkpoint-*") if (p / "average.pt").is_file()]
    if not done:
        raise InputError(f"{state}: no checkpoint to resume from; run without --resume")
    try:
        before = json.loads((state / "settings.json").read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{state / 'settings.json'}: cannot be read, so cannot resume: {error}") from error
    now = json.loads(json.dumps(settings))
    if changed := [f"{k}: {before.get(k)} -> {v}" for k, v in now.items() if before.get(k) != v]:
        raise InputError(f"{state} was begun with other settings: {'; '.join(changed)}; run without --resume")
    return max(done, key=step_of)


def step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.rsplit("-", 1)[1])


def trim_log(log: Path, step: int) -> None:
    """Forget what was logged after ``step``: it will be logged again."""
    lines = log.read_text().splitlines() if log.exists() else []
    kept: list[str] = []
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:  # torn by a kill; nothing after it was written
            break
        if row["step"] <= step:
            kept.append(line + "\n")
    log.write_text("".join(kept))
