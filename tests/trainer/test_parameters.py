"""Which parameters one modality's weights train."""

from torch import nn

from trainer.parameters import freeze


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
