"""Two processes with sharded parameters step as one process does, even where one of them has no picture."""

import os

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from tests.datagen.models.test_packing import EXAMPLES, tiny
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
