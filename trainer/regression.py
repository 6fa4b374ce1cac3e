"""Reward-weighted regression as a ``transformers.Trainer``: the weighted loss, the experts' rates, the log.

Trainer brings the loop, resume, mixed precision and accumulation. Its checkpoints hold what trains, not
what is frozen: the rest is loaded from the model anyway.
"""

import json
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn

from datagen.console import say
from datagen.errors import TrainingError
from datagen.models.base import UnifiedBatch
from datagen.weights import ess
from trainer.arguments import optimizer_class
from trainer.config import TrainConfig
from trainer.loss import weighted_loss
from trainer.meters import Throughput, histogram, line
from trainer.parameters import groups
from trainer.sharding import load_shards, save_shards, whole


class RewardWeightedTrainer(transformers.Trainer):
    """``transformers.Trainer`` with the weighted loss and a learning rate for each expert."""

    def __init__(
        self,
        config: TrainConfig,
        lrs: tuple[float, float],
        log: Path,
        meter: Throughput,
        draws_only: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.config, self.rates, self.log_path, self.meter = config, lrs, log, meter
        self.draws_only = draws_only
        self.optimizer: Any
        self.model_accepts_loss_kwargs = True  # compute_loss divides by the samples of the whole step
        self.sums: dict[str, list[float]] = {}

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        if self.optimizer is None:
            self.optimizer = optimizer_class(self.config)(
                groups(self.model.named_parameters(), *self.rates, self.config.head_ratio, self.draws_only),
                betas=(0.9, 0.98),
                weight_decay=0.0,
            )
        return self.optimizer

    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        loss = super().training_step(*args, **kwargs)
        if self.accelerator.sync_gradients:  # all of the batch is in .grad, and not clipped yet
            for group in self.optimizer.param_groups:
                grads = [p.grad for p in group["params"] if p.grad is not None]
                self.note(f"grad_norm_{group['name']}", float(whole(nn.utils.get_total_norm(grads))))
        return loss

    def _get_num_items_in_batch(self, batch_samples: list, device: torch.device) -> Any:
        """The samples of one optimizer step, over its micro-batches and over all processes."""
        count = sum(len(part["input_ids"]) for part in batch_samples)
        return self.accelerator.reduce(torch.tensor(float(count), device=device), "sum")

    def _defer_fsdp_gradient_reduction(self) -> AbstractContextManager[None]:
        """Reduce every micro-batch: to wait for the last would keep whole gradients, of 14 B parameters, until then."""
        return nullcontext()

    def note(self, name: str, value: float) -> None:
        """Average ``value`` into the next line of the log."""
        self.sums.setdefault(name, []).append(value)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if not self.config.shard:
            return super()._save_optimizer_and_scheduler(output_dir)
        save_shards(Path(output_dir), self.model, self.optimizer.optimizer)
        if self.args.should_save:
            torch.save(self.lr_scheduler.state_dict(), Path(output_dir) / "scheduler.pt")

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if not self.config.shard or checkpoint is None:
            return super()._load_optimizer_and_scheduler(checkpoint)
        load_shards(Path(checkpoint), self.model, self.optimizer.optimizer)
        self.lr_scheduler.load_state_dict(torch.load(Path(checkpoint) / "scheduler.pt", weights_only=True))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        if not self.config.shard:  # shards hold the weights too, and are loaded with the optimizer's states
            super()._load_from_checkpoint(resume_from_checkpoint, model)

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        if self.config.shard:
            return
        if state_dict is None:
            names = dict(self.model.named_parameters(remove_duplicate=False))
            kept = {k: v for k, v in self.model.state_dict().items() if k not in names}  # buffers
            kept |= {k: p.detach() for k, p in self.model.named_parameters() if p.requires_grad}
            state_dict = {k: v.contiguous() for k, v in kept.items()}
        super()._save(output_dir, state_dict)

    def compute_loss(
        self, model: nn.Module, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        batch = UnifiedBatch(**inputs)
        self.meter.count(batch)
        out, distance = model(batch)
        c = self.config
        count = None if num_items_in_batch is None else float(num_items_in_batch)
        loss = weighted_loss(out, batch, c.text_scale, c.image_scale, c.opening_scale, count)
        share = 1.0 if count is None else len(batch.input_ids) / count
        loss = loss + share * (c.reference_penalty * distance.velocity + c.reference_kl * distance.kl)
        loss = loss * self.accelerator.num_processes  # gradients are averaged over processes, not summed
        for name, value, weight in (
            ("text", out.text, batch.text_weight),
            ("opening", out.opening, batch.text_weight),
            ("image", out.image, batch.image_weight),
        ):
            total = float(weight.sum())
            if total:
                self.note(f"loss_{name}", float((weight * value).detach().sum()) / total)
                if name != "opening":
                    self.note(f"ess_{name}", ess(weight.tolist()))
                    for bar, part in histogram(weight).items():
                        self.note(f"weights_{name}/{bar}", part)
        if c.reference_penalty or c.reference_kl:
            self.note("drift", float(distance.velocity.detach()))
            self.note("kl", float(distance.kl.detach()))
        if not torch.isfinite(loss):
            raise TrainingError(
                f"the loss is {float(loss.detach())} at step {self.state.global_step}; lower the rates"
            )
        return (loss, None) if return_outputs else loss

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        extra = {k: sum(v) / len(v) for k, v in self.sums.items() if v}
        self.sums.clear()
        if "loss" in logs:
            extra |= self.meter.read()
        row = {"step": self.state.global_step, **{k: v for k, v in logs.items() if k != "epoch"}, **extra}
        if self.is_world_process_zero():
            with self.log_path.open("a") as file:
                numbers = {k: float(v) for k, v in row.items() if isinstance(v, int | float)}
                file.write(json.dumps(numbers) + "\n")
            if "loss" in logs:
                say(line(row, self.state.max_steps))
        super().log({**logs, **extra}, *args, **kwargs)
