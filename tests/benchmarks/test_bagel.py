"""The benchmark of BAGEL's size runs its whole path on a tiny network with the 7B's layout."""

import argparse
from dataclasses import replace

from benchmarks.bagel import random_model, sampling, training
from datagen.models.bagel.config import BAGEL_7B

TINY = replace(
    BAGEL_7B, vocab_size=500, hidden_size=32, intermediate_size=48, num_layers=2, num_heads=4, num_kv_heads=2,
    image_size=64, vit_layers=0,
)  # fmt: skip


def test_sampling_and_training_are_measured_on_the_layout_of_7b():
    args = argparse.Namespace(device="cpu", batch=2, steps=2, trace=4, rank=2, repeats=1)
    model = random_model(TINY, "cpu")
    rows = [*sampling(model, args), *training(model, args)]
    assert [row[0] for row in rows] == [
        "sample, batch 2", "sample, the upstream way", "train, padded", "train, packed",
    ]  # fmt: skip
    assert all(float(row[1].split()[0]) > 0 and float(row[2]) > 0 for row in rows)
