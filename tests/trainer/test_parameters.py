"""Which parameters one modality's weights train, in what precision and at which rate."""

import pytest
import torch
from torch import nn

from datagen.errors import InputError
from trainer.parameters import freeze, groups, widen


def rates(module, **kind):
    """The name of each trained parameter's group."""
    named = dict(module.named_parameters())
    found = groups(iter(named.items()), 1e-3, 1e-5, 5.0, **kind)
    of = {id(p): group["name"] for group in found for p in group["params"]}
    return {name: of[id(p)] for name, p in named.items() if id(p) in of}


def test_one_modality_trains_its_own_expert_only():
    module = nn.ModuleDict({"mlp": nn.Linear(2, 2), "mlp_moe_gen": nn.Linear(2, 2)})
    freeze(module, ("image",))
    assert {n for n, p in module.named_parameters() if p.requires_grad} == {
        "mlp_moe_gen.weight",
        "mlp_moe_gen.bias",
    }


def test_a_model_without_a_generation_expert_trains_whole():
    module = nn.ModuleDict({"to_q": nn.Linear(2, 2)})
    freeze(module, ("image",))
    assert all(p.requires_grad for p in module.parameters())


def test_activations_are_recomputed_in_large_models_only(monkeypatch):
    from datagen.models.bagel.config import BagelConfig
    from datagen.models.bagel.model import Bagel
    from trainer import arguments

    network = Bagel(BagelConfig(hidden_size=24, num_layers=1, num_heads=2, num_kv_heads=2, vocab_size=8))
    assert not arguments.recompute(network)
    monkeypatch.setattr(arguments, "LORA_ABOVE", 10)
    assert arguments.recompute(network) and network.checkpointing
    assert not arguments.recompute(nn.Linear(9, 9))


def test_large_models_and_whole_ones_train_at_lower_rates_unless_told(monkeypatch):
    from pathlib import Path

    from trainer import TrainConfig, arguments

    config, network = TrainConfig(Path("d"), Path("o")), nn.Linear(9, 9)
    assert arguments.rates(config, network, 0) == (4e-4, 1e-4)
    monkeypatch.setattr(arguments, "LORA_ABOVE", 10)
    whole, adapters = (arguments.rates(config, network, rank) for rank in (0, 16))
    assert whole[0] < adapters[0] < 4e-4 and whole[1] < adapters[1] < 1e-4
    told = TrainConfig(Path("d"), Path("o"), text_lr=1e-3)
    assert arguments.rates(told, network, 16) == (1e-3, adapters[1])


def test_the_head_that_draws_janus_codes_learns_at_the_images_rate_and_the_shared_decoder_at_the_texts():
    from tests.datagen.models.test_vq import janus

    found = rates(janus().module)
    assert found["model.language_model.layers.0.mlp.up_proj.weight"] == "text"
    assert found["lm_head.weight"] == "head"
    drawing = {name for name, group in found.items() if group == "generation"}
    assert {name.split(".")[1] for name in drawing} == {
        "generation_head",
        "generation_embeddings",
        "generation_aligner",
    }


def test_under_the_images_weights_a_decoder_for_both_trains_with_its_drawing_head():
    from tests.datagen.models.test_vq import janus

    module = janus().module
    before = set(rates(module))
    freeze(module, ("image",))
    assert set(rates(module)) == before


def test_all_of_a_model_that_only_draws_learns_at_the_images_rate():
    module = nn.ModuleDict({"to_q": nn.Linear(2, 2), "lm_head": nn.Linear(2, 2)})
    assert set(rates(module, draws_only=True).values()) == {"generation"}
    freeze(module, ("image",), draws_only=True)
    assert all(p.requires_grad for p in module.parameters())


def test_a_model_that_only_draws_cannot_learn_from_the_texts_weights_alone():
    with pytest.raises(InputError, match="only draws; valid: image"):
        freeze(nn.Linear(2, 2), ("text",), draws_only=True)


def test_small_steps_are_lost_in_bfloat16_and_kept_in_what_was_widened():
    def stepped(wide):
        module = nn.Linear(1, 1, bias=False, dtype=torch.bfloat16)
        nn.init.ones_(module.weight)
        if wide:
            widen(module, everything=False)
        optimizer = torch.optim.AdamW(module.parameters(), lr=5e-6, weight_decay=0.0)
        for _ in range(20):
            module.weight.grad = torch.ones_like(module.weight)
            optimizer.step()
        return module.weight.item()

    assert stepped(wide=False) == 1.0
    assert stepped(wide=True) == pytest.approx(1 - 20 * 5e-6, abs=1e-6)


def test_what_is_frozen_stays_as_it_is_stored_unless_everything_is_widened():
    module = nn.ModuleDict({n: nn.Linear(2, 2, dtype=torch.bfloat16) for n in ("trained", "frozen")})
    module["frozen"].requires_grad_(False)
    widen(module, everything=False)
    assert (module["trained"].weight.dtype, module["frozen"].weight.dtype) == (torch.float32, torch.bfloat16)
    widen(module, everything=True)
    assert module["frozen"].weight.dtype == torch.float32
