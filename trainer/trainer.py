"""Reward-weighted regression on both modalities, on ``transformers.Trainer``.

Trainer brings the loop, resume, mixed precision and accumulation; here are the weighted loss, the
two experts' learning rates, the average and the log. Nothing here knows a reward or a recipe.
"""

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import transformers
from torch import Tensor, nn
from transformers import TrainerCallback

from datagen.errors import InputError, TrainingError
from datagen.models import load_model
from datagen.models.base import UnifiedBatch, UnifiedModel
from datagen.weights import ess
from trainer.arguments import lora_rank, optimizer_class, pack, rates, recompute, training_arguments, widen
from trainer.checkpoint import (
    Average,
    add_lora,
    begin,
    last_checkpoint,
    merge_lora,
    merged,
    step_of,
    trim_log,
)
from trainer.config import MODALITIES, TrainConfig
from trainer.data import applied_weights, fingerprint, load_examples, to_example
from trainer.latents import Latents, numbered
from trainer.loss import Policy, weighted_loss
from trainer.meters import Throughput, histogram, image_tokens
from trainer.parameters import freeze, groups
from trainer.sharding import gathered, load_shards, save_shards, shard, whole

Hook = Callable[[Path, int], Mapping[str, float]]


@dataclass(frozen=True)
class TrainSummary:
    """What training did, on ``samples`` of the dataset's ``total`` kept rows.

    Losses are weighted means of the first and last logged steps; ESS is of the weights as applied.
    """

    steps: int
    seconds: float
    samples: int
    total: int
    text_ess: float
    image_ess: float
    first: dict[str, float]
    last: dict[str, float]
    path: Path


class RewardWeightedTrainer(transformers.Trainer):
    """``transformers.Trainer`` with the weighted loss and a learning rate for each expert.

    Its checkpoints hold what trains, not what is frozen: the rest is loaded from the model anyway.
    """

    def __init__(
        self, config: TrainConfig, lrs: tuple[float, float], log: Path, meter: Throughput, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.config, self.rates, self.log_path, self.meter = config, lrs, log, meter
        self.optimizer: Any
        self.model_accepts_loss_kwargs = True  # compute_loss divides by the samples of the whole step
        self.sums: dict[str, list[float]] = {}

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        if self.optimizer is None:
            self.optimizer = optimizer_class(self.config)(
                groups(self.model.named_parameters(), *self.rates, self.config.head_ratio),
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
        out, drift = model(batch)
        c = self.config
        count = None if num_items_in_batch is None else float(num_items_in_batch)
        loss = weighted_loss(out, batch, c.text_scale, c.image_scale, c.opening_scale, count)
        share = 1.0 if count is None else len(batch.input_ids) / count
        loss = loss + c.reference_penalty * share * drift
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
        if self.config.reference_penalty:
            self.note("drift", float(drift.detach()))
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
        super().log({**logs, **extra}, *args, **kwargs)


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

    def __init__(self, model: UnifiedModel, average: Average, config: TrainConfig, hook: Hook) -> None:
        self.model, self.average, self.config, self.hook = model, average, config, hook

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step % self.config.eval_every or not state.is_world_process_zero:
            return
        folder = self.config.out / "eval" / f"step-{state.global_step}"
        with self.average.applied(), merged(self.model.module):
            self.model.save(str(folder))
        scores = self.hook(folder, state.global_step)
        with (self.config.out / "eval.jsonl").open("a") as file:
            file.write(json.dumps({"step": state.global_step, **scores}) + "\n")


@contextmanager
def blaming(data: Path, state: Path) -> Iterator[None]:
    """Errors of files as what they are: a picture that does not decode, or a disk that is full."""
    try:
        yield
    except OSError as error:
        if error.errno is None:  # PIL's own; the disk's have a number
            raise InputError(f"{data}: a picture cannot be decoded: {error}") from error
        raise TrainingError(f"{state}: {error.strerror}; free space and run again with --resume") from error


def train(
    config: TrainConfig,
    progress: Any = lambda stage, done, total: None,
    evaluate: Hook | None = None,
) -> TrainSummary:
    """Train ``config.model`` on ``config.data``; the result is a checkpoint folder ``config.out``.

    ``evaluate`` is called every ``config.eval_every`` steps with a checkpoint folder and the step; what it
    returns is a line of ``eval.jsonl``; not for sharded weights, of which no process has a whole model.
    Raises ``TrainingError`` when the data teach nothing or the loss is not finite, ``InputError`` when
    the data cannot be read or there is nothing to resume.
    """
    if config.eval_every and evaluate is None:
        raise InputError("eval_every needs an evaluation hook")
    if config.eval_every and config.shard:
        raise InputError(
            "eval_every and shard: no process has a whole model to evaluate; evaluate the result"
        )
    if config.shard and "WORLD_SIZE" not in os.environ:
        raise InputError("--shard needs a launcher: torchrun --nproc-per-node N -m datagen train --shard")
    transformers.utils.logging.set_verbosity_error()
    rows, total = load_examples(config.data, config.weight)
    torch.manual_seed(config.seed)
    state = config.out / "trainer"
    arguments = training_arguments(config, state)
    first = arguments.process_index == 0  # and, in a launch, the process group begins here
    model = load_model(config.model, "cpu" if config.shard else arguments.device.type)
    widen(model.module)
    rank = lora_rank(config, model.module)
    lrs = rates(config, model.module, rank)
    settings = {k: str(v) if isinstance(v, Path) else v for k, v in asdict(config).items()}
    settings |= {"text_lr": lrs[0], "image_lr": lrs[1]}
    fixed = {
        k: v for k, v in settings.items() if k not in ("data", "out", "resume", "save_steps", "report_to")
    }
    fixed["data"] = fingerprint(rows)
    if rank:
        add_lora(model.module, rank)
    recompute(model.module)
    pack(config, model.module)
    freeze(model.module, config.weight)
    policy = Policy(model, config.reference_penalty)
    if config.shard:
        shard(policy, model.module, config.bf16)
    log = config.out / "log.jsonl"
    last = last_checkpoint(state, fixed) if config.resume else None
    average = Average(model.module, config.ema)
    if last is not None:
        average.load(last / "average.pt")
    if first:
        if last is None:
            begin(state, fixed)
            log.unlink(missing_ok=True)
        else:
            trim_log(log, step_of(last))
    if dist.is_initialized():
        dist.barrier()

    latents = None
    if getattr(model, "encodes", False) and "image" in (config.weight or MODALITIES):
        latents = Latents(state, fixed["data"])
        with blaming(config.data, state):
            latents.make(rows, model, progress)
        rows = numbered(rows)

    def collate(part: list[dict[str, Any]]) -> dict[str, Tensor]:
        if latents is not None:
            part = [row | {"image": latents(row)} if row["image"] is not None else row for row in part]
        return vars(model.collate([to_example(row, config.weight) for row in part]))

    started = time.monotonic()
    trainer = RewardWeightedTrainer(
        config,
        lrs,
        log,
        Throughput(model.module, image_tokens(model)),
        model=policy,
        args=arguments,
        train_dataset=rows,
        data_collator=collate,
        callbacks=[Averaging(average, progress)],
    )
    # Set late: Trainer refuses to checkpoint what was sharded before it, and here it does not have to.
    trainer.is_distributed_loading_by_transformers = config.shard
    if evaluate is not None and config.eval_every:
        trainer.add_callback(Evaluating(model, average, config, evaluate))
    trainer.remove_callback(transformers.PrinterCallback)
    with blaming(config.data, state):
        trainer.train(resume_from_checkpoint=str(last) if last else None)
    if config.ema:
        average.apply()
    if config.shard:
        state_dict = gathered(model.module)
        if first:
            model = load_model(config.model)
            widen(model.module)
            if rank:
                add_lora(model.module, rank)
            model.module.load_state_dict(state_dict)
    if first:
        if rank:
            merge_lora(model.module)
        model.module.eval()
        model.save(str(config.out))
        (config.out / "training.json").write_text(json.dumps(settings, indent=2) + "\n")
    if dist.is_initialized():
        dist.barrier()
    logged = [json.loads(line) for line in log.read_text().splitlines()]
    losses = [row for row in logged if "loss_text" in row or "loss_image" in row]
    return TrainSummary(
        steps=trainer.state.global_step,
        seconds=time.monotonic() - started,
        samples=len(rows),
        total=total,
        **{f"{m}_ess": ess(applied_weights(rows, m, config.weight)) for m in MODALITIES},
        first=losses[0] if losses else {},
        last=losses[-1] if losses else {},
        path=config.out,
    )
