"""Two processes with sharded parameters step as one does, even where one has no picture or nothing to write."""

import json
import os
import shutil
import socket
import time
from dataclasses import replace

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from safetensors.torch import load_file

from datagen import pipeline
from datagen.errors import InputError
from datagen.models.base import UnifiedModel
from datagen.recipe import load_recipe
from tests.datagen.models.test_packing import EXAMPLES, tiny
from trainer import TrainConfig, train
from trainer.adapters import add_lora
from trainer.loss import Policy, weighted_loss
from trainer.sharding import blocks, shard, whole


def _janus() -> UnifiedModel:
    from tests.datagen.models.test_vq import janus

    return janus()


def _adapted() -> UnifiedModel:
    model = tiny()
    add_lora(model.module, 2)
    for name, p in sorted(model.module.named_parameters()):
        if p.requires_grad:
            torch.nn.init.normal_(p, std=0.05, generator=torch.Generator().manual_seed(len(name)))
    return model


# What each of the two processes sees: the second lacks a picture, or anything to write.
TEXTS, NO_PICTURE, NO_LABEL = EXAMPLES[:2], EXAMPLES[2:3] * 2, EXAMPLES[1:2] * 2
CASES = {
    "no picture": (tiny, TEXTS, NO_PICTURE, 0.0),
    "no label": (tiny, TEXTS, NO_LABEL, 0.0),
    "janus, no picture": (_janus, TEXTS, NO_PICTURE, 0.0),
    "janus, no label": (_janus, TEXTS, NO_LABEL, 0.0),
    "a reference without its adapters": (_adapted, TEXTS, NO_PICTURE, 1.0),
}


def _begun(case):
    build, *parts, kl = CASES[case]
    model = build()
    resting = [p for p in model.module.parameters() if not p.requires_grad] if build is not _adapted else []
    return model, Policy(model, kl=kl), parts, resting


def _loss(model, policy, examples):
    torch.manual_seed(3)  # the noise of the batch
    batch = model.collate(examples)
    out, distance = policy(batch)
    return weighted_loss(out, batch, count=4) + distance.kl / 2


def _process(rank, folder):
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    torch.set_num_threads(1)
    dist.init_process_group("gloo", store=dist.FileStore(f"{folder}/store", 2), rank=rank, world_size=2)
    found = {}
    for case in CASES:
        model, policy, parts, resting = _begun(case)
        encoded = [[replace(e, image=e.image and model.represent(e.image)) for e in part] for part in parts]
        shard(policy, model.module, resting=resting)
        (_loss(model, policy, encoded[rank]) * 2).backward()  # gradients are averaged
        torch.optim.SGD([p for p in policy.parameters() if p.requires_grad], 0.1).step()
        found[case] = {name: whole(p).detach().clone() for name, p in policy.named_parameters()}
    if rank == 0:
        torch.save(found, f"{folder}/found.pt")
    dist.barrier()
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def stepped(tmp_path_factory):
    """What two processes made of every case: one launch for all, since it is the launch that costs."""
    folder = tmp_path_factory.mktemp("stepped")
    mp.spawn(_process, (str(folder),), nprocs=2)
    return torch.load(folder / "found.pt")


@pytest.mark.parametrize("case", CASES)
def test_a_sharded_step_equals_one_process_on_both_parts(stepped, case):
    model, policy, parts, _ = _begun(case)
    for part in parts:
        _loss(model, policy, part).backward()
    torch.optim.SGD([p for p in policy.parameters() if p.requires_grad], 0.1).step()
    moved = 0
    for name, p in policy.named_parameters():
        torch.testing.assert_close(stepped[case][name], p.detach(), atol=1e-6, rtol=1e-5, msg=name)
        moved += int(p.grad is not None and bool(p.grad.any()))
    assert moved > 10


def test_the_layers_are_the_units():
    assert len(blocks(tiny().module)) == 2
    assert blocks(torch.nn.Linear(2, 2)) == []


def test_layers_of_a_tower_that_never_runs_are_no_units():
    model = tiny(vit_layers=9, vit_hidden_size=96, vit_intermediate_size=96, vit_heads=1, vit_side=4)
    resting = [p for p in model.module.parameters() if not p.requires_grad]
    assert len(blocks(model.module)) == 9
    assert len(blocks(model.module, resting)) == 2


def _trains(rank, port, folder, model, steps, resume, lora=None, accumulate=1):
    os.environ |= {
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2",
    }  # fmt: skip
    torch.set_num_threads(1)
    config = TrainConfig(
        folder / "data" / "dataset", folder / f"out{steps}", model, steps=steps, batch_size=2, save_steps=2,
        bf16=False, shard=True, resume=resume, lora=lora, accumulate=accumulate,
    )  # fmt: skip
    if resume:
        for later in (config.out / "trainer").glob("checkpoint-4"):
            if rank == 0:
                shutil.rmtree(later)
            break
        while (config.out / "trainer" / "checkpoint-4").exists():
            time.sleep(0.05)
    train(config)
    (folder / f"seed{rank}").write_text(str(torch.initial_seed()))
    dist.destroy_process_group()


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A dataset and a tiny random BAGEL."""
    path = tmp_path_factory.mktemp("sharded")
    recipe = load_recipe("counting")
    recipe = recipe.model_copy(update={"prompts": recipe.prompts.model_copy(update={"count": 8})})
    pipeline.build(path / "data", [recipe], "fake")
    tiny().save(str(path / "tiny"))
    return path


def test_a_sharded_training_saves_a_whole_model_and_resumes_where_it_was(folder):
    args = (folder, str(folder / "tiny"), 4)
    mp.spawn(_trains, (_free_port(), *args, False), nprocs=2)
    once = load_file(folder / "out4" / "model.safetensors")
    before = load_file(folder / "tiny" / "model.safetensors")
    assert once.keys() == before.keys()
    assert sum(not torch.equal(once[k], before[k]) for k in once) > 20
    steps = [json.loads(line)["step"] for line in (folder / "out4" / "log.jsonl").read_text().splitlines()]
    assert steps == sorted(set(steps))  # one process writes the log
    assert (folder / "seed0").read_text() != (folder / "seed1").read_text()  # or all would draw one noise
    mp.spawn(_trains, (_free_port(), *args, True), nprocs=2)  # from step 2 again
    again = load_file(folder / "out4" / "model.safetensors")
    assert all(torch.equal(once[k], again[k]) for k in once)


def test_sharded_adapters_of_accumulated_batches_are_merged_into_a_whole_model(folder):
    mp.spawn(_trains, (_free_port(), folder, str(folder / "tiny"), 3, False, 4, 2), nprocs=2)
    trained = load_file(folder / "out3" / "model.safetensors")
    before = load_file(folder / "tiny" / "model.safetensors")
    assert trained.keys() == before.keys()
    moved = {k for k in trained if not torch.equal(trained[k], before[k])}
    assert moved and all("_proj" in k or "lm_head" in k for k in moved)


def test_sharding_without_a_launcher_says_how(tmp_path, monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with pytest.raises(InputError, match="torchrun"):
        train(TrainConfig(tmp_path, tmp_path / "out", shard=True))


def test_a_sharded_model_has_no_room_for_a_second_whole_one(folder, monkeypatch, tmp_path):
    monkeypatch.setenv("WORLD_SIZE", "1")
    config = TrainConfig(
        folder / "data" / "dataset", tmp_path, str(folder / "tiny"), shard=True, lora=0, reference_kl=0.1
    )
    with pytest.raises(InputError, match="needs adapters"):
        train(config)
