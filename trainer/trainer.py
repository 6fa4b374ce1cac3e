"""``train``: a model and a weighted dataset in, a checkpoint folder out.

The loop is ``regression.py``'s; here are the order in which a model is made ready (adapters, frozen parts,
latents, shards, the average) and how it is saved. Nothing here knows a reward or a recipe.
"""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import transformers
from torch import Tensor

from datagen.errors import InputError, TrainingError
from datagen.models import load_model
from datagen.weights import ess
from trainer.adapters import FOLDER, add_lora, merge_lora, save_adapter
from trainer.arguments import is_large, lora_rank, pack, rates, recompute, training_arguments
from trainer.callbacks import Averaging, Evaluating, Hook
from trainer.checkpoint import Average, begin, last_checkpoint, step_of, stored, trim_log
from trainer.config import MODALITIES, TrainConfig
from trainer.data import applied_weights, fingerprint, load_examples, to_example
from trainer.latents import Latents, numbered
from trainer.loss import Policy
from trainer.meters import Throughput
from trainer.parameters import freeze, widen
from trainer.regression import RewardWeightedTrainer
from trainer.sharding import beside, gathered, shard


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


@contextmanager
def blaming(data: Path, state: Path) -> Iterator[None]:
    """Errors of files as what they are: a picture that does not decode, or a disk that is full."""
    try:
        yield
    except OSError as error:
        if error.errno is None:  # PIL's own; the disk's have a number
            raise InputError(f"{data}: a picture cannot be decoded: {error}") from error
        raise TrainingError(f"{state}: {error.strerror}; free space and run again with --resume") from error


def _refuse(config: TrainConfig, evaluate: Hook | None) -> None:
    """Raises ``InputError`` for settings that do not go together."""
    if config.eval_every and evaluate is None:
        raise InputError("eval_every needs an evaluation hook")
    if config.eval_every and config.shard:
        raise InputError(
            "eval_every and shard: no process has a whole model to evaluate; evaluate the result"
        )
    if config.shard and "WORLD_SIZE" not in os.environ:
        raise InputError("--shard needs a launcher: torchrun --nproc-per-node N -m datagen train --shard")


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
    _refuse(config, evaluate)
    transformers.utils.logging.set_verbosity_error()
    rows, total = load_examples(config.data, config.weight)
    torch.manual_seed(config.seed)
    state = config.out / "trainer"
    arguments = training_arguments(config, state)
    first = arguments.process_index == 0  # and, in a launch, the process group begins here
    model = load_model(
        config.model, "cpu" if config.shard else str(arguments.device)
    )  # this process' own GPU
    module = model.module
    resting = [p for p in module.parameters() if not p.requires_grad]  # what the model itself froze
    dtypes = {name: p.dtype for name, p in module.named_parameters()} if is_large(module) else {}
    everything = not (config.bf16 and is_large(module))
    draws_only = getattr(model, "draws_only", False)
    rank = lora_rank(config, module)
    lrs = rates(config, module, rank)
    settings = {k: str(v) if isinstance(v, Path) else v for k, v in asdict(config).items()}
    settings |= {"text_lr": lrs[0], "image_lr": lrs[1]}
    fixed = {
        k: v for k, v in settings.items() if k not in ("data", "out", "resume", "save_steps", "report_to")
    }
    fixed["data"] = fingerprint(rows)
    if rank:
        add_lora(module, rank)
    elif config.shard and (config.reference_penalty or config.reference_kl):
        raise InputError(
            "--shard with a reference needs adapters (--lora 16): a second whole model would not be sharded"
        )
    recompute(module)
    pack(config, module)
    freeze(module, config.weight, draws_only)
    if not config.shard:
        widen(module, everything)
    policy = Policy(model, config.reference_penalty, config.reference_kl)
    log = config.out / "log.jsonl"
    last = last_checkpoint(state, fixed) if config.resume else None
    if first:
        if last is None:
            (config.out / "training.json").unlink(missing_ok=True)  # says that a training has ended
            begin(state, fixed)
            log.unlink(missing_ok=True)
        else:
            trim_log(log, step_of(last))
    if dist.is_initialized():
        dist.barrier()

    latents = None
    if getattr(model, "encodes", False) and "image" in (config.weight or MODALITIES):
        latents = Latents(state)
        with blaming(config.data, state):
            latents.make(rows, model, progress, arguments.device)
        rows = numbered(rows)
    if config.shard:
        beside(model, arguments.device, config.bf16)
        shard(policy, module, config.bf16, everything, resting, arguments.device)
    average = Average(module, config.ema)
    if last is not None:
        average.load(last / "average.pt")

    def collate(part: list[dict[str, Any]]) -> dict[str, Tensor]:
        if latents is not None:
            part = [row | {"image": latents(row)} if row["image"] is not None else row for row in part]
        return vars(model.collate([to_example(row, config.weight) for row in part]))

    started = time.monotonic()
    trainer = RewardWeightedTrainer(
        config,
        lrs,
        log,
        Throughput.of(model, resting),
        draws_only,
        model=policy,
        args=arguments,
        train_dataset=rows,
        data_collator=collate,
        callbacks=[Averaging(average, progress)],
    )
    # Set late: Trainer refuses to checkpoint what was sharded before it, and here it does not have to.
    trainer.is_distributed_loading_by_transformers = config.shard
    if evaluate is not None and config.eval_every:
        trainer.add_callback(Evaluating(model, average, config, evaluate, dtypes))
    trainer.remove_callback(transformers.PrinterCallback)
    # Each process draws its own noise; Trainer seeds all alike. A resumed one goes on with its own state.
    torch.manual_seed(config.seed + arguments.process_index)
    with blaming(config.data, state):
        trainer.train(resume_from_checkpoint=str(last) if last else None)
    if config.ema:
        average.apply()
    state_dict = module.state_dict() if config.shard else {}
    whole = gathered(state_dict.values())  # every process takes part
    if first:
        if config.shard:
            values = dict(zip(state_dict, whole, strict=True))
            model = _filled(config.model, values, rank, None if dtypes else everything)
        _save(model, config, rank, dtypes)
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


def _filled(name: str, state: dict[str, Tensor], rank: int, everything: bool | None) -> Any:
    """The model with the values that were gathered; ``everything`` None keeps the precision it is stored in."""
    model = load_model(name, "cpu")  # the GPU still holds its shards
    if everything is not None:
        widen(model.module, everything)
    if rank:
        add_lora(model.module, rank)
    model.module.load_state_dict(state)
    return model


def _save(model: Any, config: TrainConfig, rank: int, dtypes: dict[str, torch.dtype]) -> None:
    """The checkpoint, merged, and beside it the adapter where one was trained."""
    if rank:
        save_adapter(model.module, config.out / FOLDER, config.model)
        merge_lora(model.module)
    model.module.eval()
    with stored(model.module, dtypes):
        model.save(str(config.out))
