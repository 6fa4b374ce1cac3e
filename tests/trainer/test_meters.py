"""What the log says of weights, speed and cost."""

import time

import pytest
import torch
from torch import nn

from datagen.models.base import UnifiedBatch
from tests.datagen.models.test_packing import EXAMPLES, tiny
from trainer import meters
from trainer.meters import Throughput, histogram, image_tokens, line, matmul_parameters


def test_every_weight_is_in_one_bar_of_the_histogram():
    bars = histogram(torch.tensor([0.0, 0.0, 0.3, 0.5, 1.0, 1.5, 4.0, 9.0]))
    assert bars == pytest.approx(
        {"0": 2 / 8, "0-0.5": 2 / 8, "0.5-1": 1 / 8, "1-2": 1 / 8, "2-4": 1 / 8, "over 4": 1 / 8}
    )


def batch(texts: int, pictures: int) -> UnifiedBatch:
    """``texts`` tokens in one row, and as many rows as pictures."""
    rows = max(pictures, 1)
    mask = torch.zeros(rows, texts, dtype=torch.bool)
    mask[0] = True
    ids, ones = torch.zeros(rows, texts, dtype=torch.long), torch.ones(rows)
    drawn = torch.arange(rows) < pictures
    return UnifiedBatch(ids, mask, mask, ids, torch.zeros(rows, 1), drawn, ones, ones)


def test_mfu_is_the_flops_worked_out_by_hand_over_what_the_device_could_do(monkeypatch):
    module = nn.ModuleDict(
        {
            "mlp": nn.Linear(10, 20),  # 200, trained: 6 FLOPs a parameter and text token
            "lm_head": nn.Linear(10, 5, bias=False),  # 50, frozen: 4
            "mlp_moe_gen": nn.Linear(10, 30),  # 300, trained, for images
            "embed_tokens": nn.Embedding(100, 10),  # looked up
            "vit_model": nn.Linear(10, 100),  # never runs in a step
        }
    )
    module["lm_head"].requires_grad_(False)
    resting = {id(p) for p in module["vit_model"].parameters()}
    monkeypatch.setattr(meters, "peak_flops", lambda: 1e6)
    meter = Throughput(module, image_tokens=8, resting=resting)
    meter.count(batch(texts=7, pictures=3))
    meter.since = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: 102.0)
    read = meter.read()
    flops = 7 * (6 * 200 + 4 * 50) + 3 * 8 * 6 * 300
    assert read["mfu"] == pytest.approx(flops / 2 / 1e6)
    assert read["text_tokens_per_second"] == 7 / 2
    assert read["image_tokens_per_second"] == 3 * 8 / 2


def test_a_token_counts_for_every_part_that_its_model_says_it_passes():
    module = nn.ModuleDict({"mlp": nn.Linear(2, 3), "generation_head": nn.Linear(2, 2)})
    passes = {"text": ("text", "head"), "image": ("text", "generation")}
    meter = Throughput(module, 1, passes)
    meter.count(batch(texts=1, pictures=1))
    assert meter.flops() == 6 * 6 + 6 * (6 + 4)


def test_a_model_that_does_not_say_what_its_tokens_pass_has_no_mfu(monkeypatch):
    monkeypatch.setattr(meters, "peak_flops", lambda: 1e6)
    assert "mfu" not in Throughput(nn.Linear(2, 2), 4, {"text": (), "image": ()}).read()


def test_a_frozen_tower_does_not_count():
    network = tiny(vit_layers=1, vit_hidden_size=8, vit_intermediate_size=8, vit_heads=1, vit_side=4).module
    resting = [p for p in network.parameters() if not p.requires_grad]
    everything, running = (
        matmul_parameters(network.named_parameters(), ids) for ids in ((), {id(p) for p in resting})
    )
    assert running["text"][0] < everything["text"][0]
    assert running["text"][0] == running["text"][1]


def test_one_picture_is_as_many_tokens_as_the_sequence_holds_of_it():
    from tests.datagen.models.test_pipelines import build
    from tests.datagen.models.test_vq import emu3, janus

    assert image_tokens(tiny()) == 64
    assert image_tokens(janus()) == 16
    model = emu3()
    header = len(model.encode("4*4"))
    assert image_tokens(model) == 1 + header + 1 + (16 + 3) - 1  # BOI, header, wrapper, codes and line ends
    assert [image_tokens(build(kind)) for kind in ("ddpm", "flow", "packed")] == [64, 16, 16]


def test_tokens_of_pictures_are_counted_for_each_model():
    model = tiny()
    meter = Throughput.of(model)
    meter.count(model.collate(EXAMPLES))
    assert meter.tokens["image"] == 3 * 64


def test_the_terminals_line_has_losses_ess_gradients_speed_and_mfu():
    row = {
        "step": 10, "loss": 1.0, "loss_text": 0.5, "loss_image": 0.25, "ess_text": 3.0, "grad_norm": 2.0,
        "grad_norm_head": 0.125, "kl": 0.01, "text_tokens_per_second": 1234.4, "image_tokens_per_second": 7.0,
        "mfu": 0.413,
    }  # fmt: skip
    assert line(row, 72) == (
        "step 10/72, loss text 0.5 image 0.25, ESS text 3, gradient head 0.125, kl 0.01, "
        "1,234 text + 7 image tokens/s, MFU 41%"
    )
