"""Two processes with sharded parameters step as one process does, even where one of them has no picture."""

import json
import os
import shutil
import socket
import time

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from safetensors.torch import load_file

from datagen import pipeline
from datagen.errors import InputError
from datagen.recipe import load_recipe
from tests.datagen.models.test_packing import EXAMPLES, tiny
from trainer import TrainConfig, train
from trainer.loss import Policy, weighted_loss
from trainer.sharding import blocks, shard, whole

PARTS = (EXAMPLES[:2], EXAMPLES[2:3] * 2)  # the second process sees no picture


def _stepped(model, policy, examples, processes):
    torch.manual_seed(3)  # the noise of the batch
    batch = model.collate(examples)
    out, _ = policy(batch)
    (weighted_loss(out, batch, count=4) * processes).backward()
    torch.optim.SGD(policy.parameters(), 0.1).step()
    return {name: whole(p).detach().clone() for name, p in policy.named_parameters()}


def _process(rank, folder):
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    dist.init_process_group("gloo", store=dist.FileStore(f"{folder}/store", 2), rank=rank, world_size=2)
    model = tiny()
    policy = Policy(model, 0.0)
    shard(policy, model.module)
    found = _stepped(model, policy, PARTS[rank], 2)
    if rank == 0:
        torch.save(found, f"{folder}/found.pt")
    dist.barrier()
    dist.destroy_process_group()


def test_a_sharded_step_equals_one_process_on_both_parts(tmp_path):
    mp.spawn(_process, (str(tmp_path),), nprocs=2)
    model = tiny()
    policy = Policy(model, 0.0)
    for part in PARTS:
        torch.manual_seed(3)
        batch = model.collate(part)
        out, _ = policy(batch)
        weighted_loss(out, batch, count=4).backward()
    torch.optim.SGD(policy.parameters(), 0.1).step()
    found = torch.load(tmp_path / "found.pt")
    moved = 0
    for name, p in policy.named_parameters():
        torch.testing.assert_close(found[name], p.detach(), atol=1e-6, rtol=1e-5, msg=name)
        moved += int(p.grad is not None and bool(p.grad.any()))
    assert moved > 20


def test_the_layers_are_the_units():
    assert len(blocks(tiny().module)) == 2
    assert blocks(torch.nn.Linear(2, 2)) == []


def _trains(rank, port, folder, model, steps, resume, lora=None):
    os.environ |= {
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2",
    }  # fmt: skip
    torch.set_num_threads(1)
    config = TrainConfig(
        folder / "data" / "dataset", folder / f"out{steps}", model, steps=steps, batch_size=2, save_steps=2,
        bf16=False, shard=True, resume=resume, lora=lora,
    )  # fmt: skip
    if resume:
        for later in (config.out / "trainer").glob("checkpoint-4"):
            if rank == 0:
                shutil.rmtree(later)
            break
        while (config.out / "trainer" / "checkpoint-4").exists():
            time.sleep(0.05)
    train(config)
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
    mp.spawn(_trains, (_free_port(), *args, True), nprocs=2)  # from step 2 again
    again = load_file(folder / "out4" / "model.safetensors")
    assert all(torch.equal(once[k], again[k]) for k in once)


def test_sharded_adapters_are_merged_into_a_whole_model(folder):
    mp.spawn(_trains, (_free_port(), folder, str(folder / "tiny"), 3, False, 4), nprocs=2)
    trained = load_file(folder / "out3" / "model.safetensors")
    before = load_file(folder / "tiny" / "model.safetensors")
    assert trained.keys() == before.keys()
    moved = {k for k in trained if not torch.equal(trained[k], before[k])}
    assert moved and all("_proj" in k or "lm_head" in k for k in moved)


def test_sharding_without_a_launcher_says_how(tmp_path, monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with pytest.raises(InputError, match="torchrun"):
        train(TrainConfig(tmp_path, tmp_path / "out", shard=True))
