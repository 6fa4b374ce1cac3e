"""Reward-weighted regression on both modalities, on ``transformers.Trainer``.

Trainer brings the loop, resume, mixed precision and accumulation; here are the weighted loss, the
two experts' learning rates, the average and the log. Nothing here knows a reward or a recipe.
"""

import copy
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from transformers import TrainerCallback, TrainingArguments

from datagen.errors import InputError, TrainingError
from datagen.models import load_model
from datagen.models.base import UnifiedBatch, UnifiedModel
from trainer.checkpoint import Average, add_lora, merge_lora
from trainer.config import TrainConfig
from trainer.data import load_examples, to_example
from trainer.loss import weighted_loss

GENERATION = ("moe_gen", "vae2llm", "llm2vae", "time_embedder", "latent_pos_embed")


@dataclass(frozen=True)
class TrainSummary:
    """What training did. Losses are weighted means of the first and last logged steps."""

    steps: int
    seconds: float
    samples: int
    text_ess: float
    image_ess: float
    first: dict[str, float]
    last: dict[str, float]
    path: Path


class Policy(nn.Module):
    """The unified model as one callable module, so that Trainer can wrap it."""

    def __init__(self, model: UnifiedModel, penalty: float) -> None:
        super().__init__()
        self.model, self.module, self.penalty = model, model.module, penalty
        self.reference: Any = None
        if penalty:
            if not hasattr(model.module, "predict"):
                raise InputError(f"model {model.name!r} has no velocities to hold to a reference")
            self.reference = [copy.deepcopy(model.module).eval().requires_grad_(False)]  # not a submodule

    def forward(self, batch: UnifiedBatch) -> tuple[Tensor, Tensor, Tensor]:
        """Per-sample text and image losses [B], and the drift from the reference []."""
        if self.reference is None:
            out = self.model.losses(batch)
            return out.text, out.image, out.text.new_zeros(())
        network: Any = self.module
        device = batch.input_ids.device
        seed = int(torch.randint(2**31, ()))
        velocity, target, logits = network.predict(batch, torch.Generator(device).manual_seed(seed))
        with torch.no_grad():
            anchor, _, _ = self.reference[0].predict(batch, torch.Generator(device).manual_seed(seed))
        out = network.reduce(batch, velocity, target, logits)
        drift = ((velocity - anchor).pow(2).mean((1, 2)) * batch.image_mask).mean()
        return out.text, out.image, drift


class RewardWeightedTrainer(transformers.Trainer):
    """``transformers.Trainer`` with the weighted loss and a learning rate for each expert."""

    def __init__(self, config: TrainConfig, log: Path, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.config, self.log_path = config, log
        self.optimizer: Any
        self.model_accepts_loss_kwargs = False
        self.sums: dict[str, list[float]] = {}

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        if self.optimizer is None:
            rates = {"generation": self.config.image_lr, "text": self.config.text_lr}
            groups: dict[str, list[nn.Parameter]] = {name: [] for name in rates}
            for name, p in self.model.named_parameters():
                if p.requires_grad:
                    groups["generation" if any(g in name for g in GENERATION) else "text"].append(p)
            self.optimizer = torch.optim.AdamW(
                [{"params": groups[n], "lr": rate} for n, rate in rates.items()],
                betas=(0.9, 0.98),
                weight_decay=0.0,
            )
        return self.optimizer

    def compute_loss(
        self, model: nn.Module, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        batch = UnifiedBatch(**inputs)
        text, image, drift = model(batch)
        from datagen.models.base import UnifiedLoss

        out = UnifiedLoss(text.new_zeros(()), text, image)
        loss = weighted_loss(out, batch, self.config.text_scale, self.config.image_scale)
        loss = loss + self.config.reference_penalty * drift
        for name, value, weight in (
            ("text", text, batch.text_weight),
            ("image", image, batch.image_weight),
        ):
            total = float(weight.sum())
            if total:
                mean = float((weight * value).detach().sum()) / total
                self.sums.setdefault(f"loss_{name}", []).append(mean)
        if self.config.reference_penalty:
            self.sums.setdefault("drift", []).append(float(drift.detach()))
        if not torch.isfinite(loss):
            raise TrainingError(
                f"the loss is {float(loss)} at step {self.state.global_step}; lower the rates"
            )
        return (loss, None) if return_outputs else loss

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        extra = {k: sum(v) / len(v) for k, v in self.sums.items() if v}
        self.sums.clear()
        row = {"step": self.state.global_step, **{k: v for k, v in logs.items() if k != "epoch"}, **extra}
        with self.log_path.open("a") as file:
            file.write(json.dumps({k: float(v) for k, v in row.items() if isinstance(v, int | float)}) + "\n")
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


def train(config: TrainConfig, progress: Any = lambda stage, done, total: None) -> TrainSummary:
    """Train ``config.model`` on ``config.data``; the result is a checkpoint folder ``config.out``.

    Raises ``TrainingError`` when the data teach nothing or the loss is not finite, ``InputError`` when
    the data cannot be read or there is nothing to resume.
    """
    from datagen.weights import ess

    transformers.utils.logging.set_verbosity_error()
    rows = load_examples(config.data, config.weight)
    torch.manual_seed(config.seed)
    model = load_model(config.model, "cuda" if torch.cuda.is_available() else "cpu")
    if config.lora:
        add_lora(model.module, config.lora)
    policy = Policy(model, config.reference_penalty)
    state = config.out / "trainer"
    state.mkdir(parents=True, exist_ok=True)
    log = config.out / "log.jsonl"
    last = _last_checkpoint(state) if config.resume else None
    if last is None:
        log.unlink(missing_ok=True)
    average = Average(model.module, config.ema)
    if last is not None:
        average.load(last / "average.pt")
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
        report_to=[],
        disable_tqdm=True,
        logging_steps=10,
        logging_first_step=True,
        save_steps=config.save_steps,
        save_total_limit=2,
        eval_strategy="no",
    )

    def collate(part: list[dict[str, Any]]) -> dict[str, Tensor]:
        return vars(model.collate([to_example(row, config.weight) for row in part]))

    started = time.monotonic()
    trainer = RewardWeightedTrainer(
        config,
        log,
        model=policy,
        args=arguments,
        train_dataset=rows,
        data_collator=collate,
        callbacks=[Averaging(average, progress)],
    )
    trainer.remove_callback(transformers.PrinterCallback)
    try:
        trainer.train(resume_from_checkpoint=str(last) if last else None)
    except OSError as error:
        raise TrainingError(f"{state}: {error.strerror}; free space and run again with --resume") from error
    if config.ema:
        average.apply()
    if config.lora:
        merge_lora(model.module)
    model.module.eval()
    model.save(str(config.out))
    logged = [json.loads(line) for line in log.read_text().splitlines()]
    losses = [row for row in logged if "loss_text" in row or "loss_image" in row]
    settings = {k: str(v) if isinstance(v, Path) else v for k, v in asdict(config).items()}
    (config.out / "training.json").write_text(json.dumps(settings, indent=2) + "\n")
    return TrainSummary(
        steps=trainer.state.global_step,
        seconds=time.monotonic() - started,
        samples=len(rows),
        text_ess=ess(rows["text_weight"]),
        image_ess=ess(rows["image_weight"]),
        first=losses[0] if losses else {},
        last=losses[-1] if losses else {},
        path=config.out,
    )


def _last_checkpoint(state: Path) -> Path:
    done = [p for p in state.glob("checkpoint-*") if (p / "average.pt").is_file()]
    if not done:
        raise InputError(f"{state}: no checkpoint to resume from; run without --resume")
    return max(done, key=lambda p: int(p.name.rsplit("-", 1)[1]))
