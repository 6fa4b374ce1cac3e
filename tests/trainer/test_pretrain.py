"""Pretraining data: repeatable, resumable, and silent about the opening token."""

import itertools
import random

import pytest
import torch

from datagen.models.bagel import BagelModel
from datagen.models.bagel.config import BagelConfig
from datagen.models.bagel.model import Bagel
from datagen.models.bagel.tokenizer import train_tokenizer
from datagen.scenes.captions import sample_caption
from trainer.pretrain import average_gradients, batches, example


@pytest.fixture(scope="module")
def model():
    rng = random.Random(0)
    tokenizer = train_tokenizer([sample_caption(rng).prompt for _ in range(200)], 400)
    return BagelModel(
        Bagel(BagelConfig(vocab_size=400, hidden_size=24, num_layers=1, num_heads=2, num_kv_heads=2)),
        tokenizer,
    )


def test_the_opening_token_is_never_supervised(model):
    for batch in itertools.islice(batches(model, 8, 0, 0), 10):
        assert model.tokenizer.start_of_image not in batch.labels[batch.label_mask].tolist()


def test_a_resumed_run_sees_the_batches_it_would_have_seen(model):
    whole = [b.input_ids for b in itertools.islice(batches(model, 4, 0, 0), 12)]
    late = [b.input_ids for b in itertools.islice(batches(model, 4, 0, 10), 2)]
    assert all(torch.equal(a, b) for a, b in zip(whole[10:], late, strict=True))


def test_two_processes_share_one_batch(model):
    whole = next(batches(model, 8, 0, 0)).image
    parts = [next(batches(model, 8, 0, 0, rank, 2)).image for rank in range(2)]
    assert torch.equal(whole[0::2], parts[0])
    assert torch.equal(whole[1::2], parts[1])


def test_pictures_without_a_trace_come_from_clean_captions_only():
    rng = random.Random(0)
    captions = [sample_caption(rng) for _ in range(1500)]
    bare = [c for c in captions if not example(c, rng).trace]
    assert 0.1 < len(bare) / len(captions) < 0.25
    assert all(c.clean and c.kind != "knowledge" for c in bare)


def test_one_process_averages_nothing():
    assert average_gradients([], 0.5, 1) == 0.5
