"""Commands that train: ``train``, and ``run``, which is the whole loop."""

import json
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from datagen.commands.common import (
    DEFAULT,
    Address,
    Candidates,
    Cfg,
    Force,
    Json,
    Model,
    Progress,
    Run,
    Seed,
    Suite,
    at,
    show_comparison,
)
from datagen.errors import InputError

BatchSize = Annotated[int, typer.Option(min=1, help="samples that training takes at once")]
Accumulate = Annotated[int, typer.Option(min=1, help="batches a step of training")]


def train(
    run: Run = DEFAULT,
    model: Model = "pocket",
    data: Annotated[Path | None, typer.Option(help="dataset folder; default RUN/dataset")] = None,
    weight: Annotated[str, typer.Option(help="text,image / text / image / none (plain SFT)")] = "text,image",
    epochs: Annotated[float, typer.Option(min=0.01)] = 3.0,
    steps: Annotated[int | None, typer.Option(min=1, help="instead of epochs")] = None,
    batch_size: BatchSize = 16,
    accumulate: Accumulate = 1,
    text_lr: Annotated[
        float | None, typer.Option(help="rate of the text expert; default by the model's size")
    ] = None,
    image_lr: Annotated[
        float | None, typer.Option(help="rate of the generation expert; default by the model's size")
    ] = None,
    lora: Annotated[
        int | None,
        typer.Option(min=0, help="LoRA rank; 0 trains all; default 16 above 1 B parameters, else 0"),
    ] = None,
    optimizer: Annotated[str, typer.Option(help="adamw / adamw8bit")] = "adamw",
    ema: Annotated[float, typer.Option(min=0, max=1, help="decay of the averaged weights; 0 off")] = 0.98,
    reference_penalty: Annotated[
        float, typer.Option(min=0, help="weight of the velocity's distance to the untrained model's")
    ] = 0.0,
    reference_kl: Annotated[
        float, typer.Option(min=0, help="weight of KL(model || untrained model) of the trace's tokens")
    ] = 0.0,
    pack: Annotated[
        bool | None,
        typer.Option("--pack/--no-pack", help="rows without padding; default above 1 B parameters"),
    ] = None,
    shard: Annotated[bool, typer.Option("--shard", help="FSDP2 over the processes of torchrun")] = False,
    report_to: Annotated[str, typer.Option(help="tensorboard,trackio,wandb: beside log.jsonl")] = "",
    save_steps: Annotated[int, typer.Option(min=1, help="steps between checkpoints")] = 50,
    eval_every: Annotated[int, typer.Option(min=0, help="steps between evaluations; 0 never")] = 0,
    suite: Suite = None,
    seed: Seed = 0,
    resume: Annotated[bool, typer.Option("--resume", help="go on from the last checkpoint")] = False,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Reward-weighted training on the run's dataset.

    Example: datagen train --weight text,image
    """
    from datagen.loop import evaluation_hook, suite_for
    from trainer import TrainConfig, parse_weight
    from trainer import train as train_model

    out = run / "model"
    if (out / "training.json").exists() and not force:
        if resume:
            print(f"{out}: has ended already; --force trains again")
            return
        raise InputError(f"{out} exists; --force trains again")
    if any((out / "trainer").glob("checkpoint-*/average.pt")) and not force and not resume:
        raise InputError(f"{out}: a training was stopped here; --resume goes on, --force begins anew")
    config = TrainConfig(
        data=data or run / "dataset",
        out=out,
        model=model,
        weight=parse_weight(weight),
        epochs=epochs,
        steps=steps,
        batch_size=batch_size,
        accumulate=accumulate,
        text_lr=text_lr,
        image_lr=image_lr,
        lora=lora,
        optimizer=optimizer,  # type: ignore[arg-type]  # refused with the valid names
        ema=ema,
        reference_penalty=reference_penalty,
        reference_kl=reference_kl,
        pack=pack,
        shard=shard,
        save_steps=save_steps,
        report_to=tuple(name.strip() for name in report_to.split(",") if name.strip()),
        eval_every=eval_every,
        seed=seed,
        resume=resume,
    )
    if data is None and not (run / "dataset").is_dir():
        raise InputError(f"{run / 'dataset'}: no dataset here; run datagen build first")
    with Progress() as progress:
        done = train_model(
            config, progress, evaluation_hook(suite or suite_for(model)) if eval_every else None
        )
    if as_json:
        print(json.dumps({**asdict(done), "path": str(done.path)}))
    else:
        print(f"{done.steps} steps on {done.samples} samples in {done.seconds:.0f} s: {done.path}")
        print(f"\nNext: datagen eval --model {shlex.quote(str(out))}{at(run)}")


def run(
    run: Run = DEFAULT,
    model: Model = "pocket",
    suite: Suite = None,
    llm: Annotated[str, typer.Option(help="who writes the prompts")] = "smollm2",
    per_category: Annotated[int, typer.Option(min=1, help="evaluation prompts a category")] = 60,
    images: Annotated[int, typer.Option(min=1, help="images a prompt")] = 4,
    weak: Annotated[int, typer.Option(min=1, help="how many weaknesses to build for")] = 2,
    prompts: Annotated[int, typer.Option(min=1, help="prompts to build, split by budget")] = 240,
    rehearsal: Annotated[
        float, typer.Option(min=0, max=1, help="share of broad prompts beside them, against forgetting")
    ] = 0.1,
    candidates: Candidates = None,
    workers: Annotated[int, typer.Option(min=0, help="Ray workers; 0 runs in this process")] = 0,
    ray_address: Address = None,
    epochs: Annotated[float, typer.Option(min=0.01)] = 3.0,
    batch_size: BatchSize = 16,
    accumulate: Accumulate = 1,
    cfg: Cfg = None,
    after: Annotated[
        Path | None,
        typer.Option(
            help="a turn after that of this run: from its model, on its data too, budget by what it moved"
        ),
    ] = None,
    seed: Seed = 0,
) -> None:
    """The whole loop, resumed where it was. Eval, weaknesses, build, train, eval, compare, report.

    Example: datagen run
    """
    from datagen.console import percent
    from datagen.loop import LoopConfig, run_loop, suite_for

    if after and model != "pocket":
        raise InputError(f"--after starts from {after / 'model'}; leave --model out")
    config = LoopConfig(
        run, model, suite or suite_for(str(after / "model") if after else model), llm, per_category, images, weak, prompts, rehearsal, candidates, workers, cfg,
        epochs, batch_size, accumulate, seed, ray_address, after,
    )  # fmt: skip
    with Progress() as progress:
        done = run_loop(config, progress)
    show_comparison(done.comparisons)
    opened = [f"{percent(r.get('model', 0.0))}%" for r in (done.before, done.after)]
    print(f"opens the image by itself: {opened[0]} before, {opened[1]} after")
    print(f"time: {', '.join(f'{k} {v:.0f} s' for k, v in done.seconds.items())}")
    print(f"report: {done.report}")
