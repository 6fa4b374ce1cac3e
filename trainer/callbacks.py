"""What happens after a step: the average follows, and now and then the model is evaluated."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from datagen.models.base import UnifiedModel
from trainer.adapters import merged
from trainer.checkpoint import Average, stored
from trainer.config import TrainConfig

Hook = Callable[[Path, int], Mapping[str, float]]


class Averaging(TrainerCallback):
    """Update the average after each step; keep it beside Trainer's own checkpoints."""

    def __init__(self, average: Average, report: Any) -> None:
        self.average, self.report = average, report

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.average.update()
        self.report("train", state.global_step, state.max_steps)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.average.save(Path(args.output_dir) / f"checkpoint-{state.global_step}" / "average.pt")


class Evaluating(TrainerCallback):
    """Every so many steps: the averaged weights as a checkpoint folder, and what the hook says of it."""

    def __init__(
        self,
        model: UnifiedModel,
        average: Average,
        config: TrainConfig,
        hook: Hook,
        dtypes: Mapping[str, torch.dtype],
    ) -> None:
        self.model, self.average, self.config, self.hook, self.dtypes = model, average, config, hook, dtypes

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step % self.config.eval_every or not state.is_world_process_zero:
            return
        folder = self.config.out / "eval" / f"step-{state.global_step}"
        module = self.model.module
        with self.average.applied(), merged(module), stored(module, self.dtypes):
            self.model.save(str(folder))
        scores = self.hook(folder, state.global_step)
        with (self.config.out / "eval.jsonl").open("a") as file:
            file.write(json.dumps({"step": state.global_step, **scores}) + "\n")
