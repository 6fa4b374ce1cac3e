"""Packed rows give the losses and the gradients of padded ones."""

import dataclasses

import pytest
import torch
from PIL import Image

from datagen.models.bagel import BagelModel
from datagen.models.bagel.config import BagelConfig
from datagen.models.bagel.model import Bagel
from datagen.models.bagel.packing import Packing
from datagen.models.bagel.tokenizer import train_tokenizer
from datagen.models.base import Example

PICTURE = Image.radial_gradient("L").resize((48, 48)).convert("RGB")
EXAMPLES = [
    Example("two blue stars", "blue star top left ; blue star bottom right", PICTURE, 1.0, 0.5),
    Example("a red circle", "", PICTURE, 0.0, 2.0),
    Example("a heart and a cross on a plain background", "red heart top left", None, 1.5, 0.0),
    Example("a star", "red star middle center ; pink cross top left", PICTURE, 0.7, 1.0),
]


def tiny(**changes) -> BagelModel:
    torch.manual_seed(0)
    config = BagelConfig(
        vocab_size=300,
        hidden_size=24,
        intermediate_size=32,
        num_layers=2,
        num_heads=4,
        num_kv_heads=2,
        **changes,
    )
    tokenizer = train_tokenizer(["red circle top left ; two blue stars"] * 20, 300)
    network = Bagel(config)
    torch.nn.init.normal_(network.llm2vae.weight, std=0.1)  # at 0, as it starts, no picture would matter
    return BagelModel(network, tokenizer)


def step(model, examples):
    """Losses and gradients of one batch, on the same noise."""
    network = model.module
    network.zero_grad()
    out = model.losses(model.collate(examples), torch.Generator().manual_seed(7))
    out.loss.backward()
    return out, {n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("dropout", [0.0, 0.6])
def test_losses_and_gradients_equal_the_padded_ones(dropout):
    model = tiny(condition_dropout=dropout)
    padded, before = step(model, EXAMPLES)
    model.module.packed = True
    packed, after = step(model, EXAMPLES)
    for field in dataclasses.fields(padded):
        torch.testing.assert_close(
            getattr(packed, field.name), getattr(padded, field.name), atol=1e-5, rtol=1e-5
        )
    assert before.keys() == after.keys()
    for name, grad in before.items():
        torch.testing.assert_close(after[name], grad, atol=1e-5, rtol=1e-4, msg=name)


def test_no_token_is_padding():
    batch = tiny().collate(EXAMPLES)
    packing = Packing.of(batch.text_mask, batch.image_mask, 64, batch.text_mask)
    assert len(packing.document) == int(batch.text_mask.sum()) + 3 * (2 + 64)
    assert len(packing.document) < batch.text_mask.numel() + 4 * (2 + 64)


def test_documents_do_not_see_each_other():
    model = tiny(condition_dropout=0.0)
    model.module.packed = True
    one, _ = step(model, EXAMPLES)
    changed = [
        *EXAMPLES[:3],
        dataclasses.replace(EXAMPLES[3], trace="black heart bottom left ; red star top left"),
    ]
    other, _ = step(model, changed)
    assert torch.equal(one.text[:3], other.text[:3]) and torch.equal(one.image[:3], other.image[:3])
    assert one.text[3] != other.text[3]


@pytest.mark.parametrize("packed", [False, True])
def test_a_batch_without_labels_still_has_a_gradient_everywhere_and_it_is_zero_for_the_head(packed):
    """Other processes of a sharded training wait for it."""
    model = tiny()
    model.module.packed = packed
    out, grads = step(model, [e for e in EXAMPLES if not e.trace])
    assert float(out.text.detach()) == float(out.opening.detach()) == 0
    assert not grads["language_model.lm_head.weight"].any()
    trained = {n for n, p in model.module.named_parameters() if p.requires_grad}
    assert grads.keys() == trained


@pytest.mark.parametrize("dropout", [0.0, 0.6])
def test_flex_attention_is_given_the_dense_mask(dropout):
    from torch.nn.attention.flex_attention import create_mask

    torch.manual_seed(1)
    batch = tiny().collate(EXAMPLES)
    sees = batch.text_mask & (torch.rand(4, 1) >= dropout)
    packing = Packing.of(batch.text_mask, batch.image_mask, 64, sees)
    total = len(packing.document)
    flex = create_mask(packing.rule, None, None, total, total, device="cpu")
    assert torch.equal(flex, packing.mask())
