"""Which parameters one modality's weights train."""

from torch import nn

from trainer.parameters import freeze


def test_one_modality_trains_its_own_expert_only():
    module = nn.ModuleDict({"mlp": nn.Linear(2, 2), "mlp_moe_gen": nn.Linear(2, 2)})
    freeze(module, ("image",))
    assert {n for n, p in module.named_parameters() if p.requires_grad} == {"mlp_moe_gen.weight", "mlp_moe_gen.bias"}


def test_a_model_without_a_generation_expert_trains_whole():
    module = nn.ModuleDict({"to_q": nn.Linear(2, 2)})
    freeze(module, ("image",))
    assert all(p.requires_grad for p in module.parameters())
