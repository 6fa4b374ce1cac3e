"""The benchmark of BAGEL's size runs its whole path on a tiny network with the 7B's layout."""

import argparse
from dataclasses import replace

import pytest
import torch

from benchmarks.bagel import at_size, measure, random_network
from benchmarks.ceiling import Ceiling, guided_steps, sampling_bound
from benchmarks.two_ways import WORDS, apart, one_pass, upstream_way
from datagen.models.bagel.config import BAGEL_7B
from datagen.models.base import GenerationConfig

TINY = replace(
    BAGEL_7B, vocab_size=500, hidden_size=32, intermediate_size=48, num_layers=2, num_heads=4, num_kv_heads=2,
    image_size=64, vit_layers=0, batch=0,
)  # fmt: skip
GREEDY = GenerationConfig(force=True, temperature=0.0, steps=6, max_trace_tokens=5)
LIMIT = Ceiling(1e12, 1e11, True)


def test_sampling_and_training_are_measured_on_the_layout_of_7b_at_every_size():
    args = argparse.Namespace(device="cpu", batch=2, steps=2, trace=4, rank=2, repeats=1, pixels=[32, 64])
    rows = measure(random_network(TINY, "cpu"), args, LIMIT)
    sampled, trained = ["sample, the upstream way", "sample, batch 2"], ["train, padded", "train, packed"]
    assert [row.work for row in rows] == 2 * sampled + 2 * trained
    assert [row.pixels for row in rows] == 2 * [32, 32, 64, 64]
    assert all(row.a_second > 0 and row.gib > 0 and row.share > 0 for row in rows)
    assert [rows[0].times, rows[4].times] == pytest.approx([1, 1])


@pytest.mark.parametrize("changes", [{}, {"cfg_interval": (0.0, 1.0), "cfg_renorm": "none"}, {"cfg": 1.0}])
def test_both_ways_draw_every_picture_and_the_same_one(changes):
    model = at_size(random_network(replace(TINY, **changes), "cpu"), 64)
    samples = one_pass(model, 3, GREEDY)
    assert [len(s.trace_ids) for s in samples] == [5, 5, 5]
    for seed, sample in enumerate(samples):
        assert sample.transition == "forced" and sample.image is not None
        assert apart(sample, upstream_way(model, seed, GREEDY)) < 1e-4
    assert apart(samples[0], upstream_way(model, 1, GREEDY)) > 0.1


def test_the_upstream_way_runs_the_second_branch_inside_the_interval_only():
    model = at_size(random_network(TINY, "cpu"), 64)
    run, calls = model.network.run, []
    model.network.run = lambda *a: (calls.append(1), run(*a))[1]
    trace = torch.tensor([5, model.tokenizer.eos])
    upstream_way(model, 0, GREEDY, trace)
    guided = guided_steps(model.network, 6)
    assert 0 < guided < 6
    assert len(calls) == 1 + 6 + guided


def test_the_bound_is_what_weights_and_products_take_worked_out_by_hand():
    network = random_network(replace(TINY, cfg=1.0, image_size=16), "cpu")
    d, mid, patch = 32, 48, 64
    expert = 2 * (2 * d * d + 2 * d * 16 + 3 * d * mid)
    generation, head = expert + 2 * patch * d, 500 * d
    no_bytes = sampling_bound(Ceiling(1.0, 1e30, True), network, 1, 3, 0, 1)
    looks = 4 * 2 * d * 3 * (3 + 3)
    assert no_bytes == 2 * (3 * expert + head) + 2 * (generation + 2 * expert) + looks
    no_flops = sampling_bound(Ceiling(1e30, 1.0, True), network, 1, 3, 0, 1)
    assert no_flops == 4 * (expert + head) + 4 * (expert + generation) + 3 * 2 * 2 * 2 * 8 * 4


def test_prompts_are_inside_the_vocabulary_of_the_smallest_network():
    model = at_size(random_network(TINY, "cpu"), 64)
    assert max(model.prompt_ids(WORDS)) < TINY.vocab_size
