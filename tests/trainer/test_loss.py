"""How far the policy is from its reference: by hand, with adapters and as a copy."""

from dataclasses import replace

import pytest
import torch
from torch.distributions import Categorical, kl_divergence

from datagen.errors import InputError
from datagen.models.fake import FakeModel
from tests.datagen.models.test_packing import EXAMPLES, tiny
from tests.datagen.models.test_vq import RED, emu3, janus
from trainer.adapters import add_lora
from trainer.loss import Policy, divergence

BUILD = {"bagel": tiny, "janus": janus, "emu3": emu3}


def examples(name):
    return EXAMPLES if name == "bagel" else [replace(e, image=e.image and RED) for e in EXAMPLES]


def test_the_divergence_is_the_mean_kl_of_each_rows_labelled_tokens():
    torch.manual_seed(0)
    mine, theirs = torch.randn(2, 3, 7).unbind(0)
    labelled = torch.tensor([[True, False, True], [False, False, False], [False, True, False]])
    each = kl_divergence(Categorical(logits=mine), Categorical(logits=theirs))
    want = torch.tensor([(each[0] + each[1]) / 2, 0, each[2]])
    torch.testing.assert_close(divergence(mine, theirs, labelled), want)


@pytest.mark.parametrize("rank", [0, 2])
@pytest.mark.parametrize("name", BUILD)
def test_it_is_zero_at_first_grows_with_training_and_has_a_gradient(name, rank):
    model = BUILD[name]()
    if rank:
        add_lora(model.module, rank)
    policy = Policy(model, kl=1.0)
    batch = model.collate(examples(name))
    assert float(policy(batch)[1].kl.detach()) == pytest.approx(0, abs=1e-6)
    with torch.no_grad():
        for p in policy.parameters():
            if p.requires_grad:
                p += 0.05 * torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel()))
    _, distance = policy(batch)
    assert distance.kl > 1e-6
    distance.kl.backward()
    assert any(p.grad is not None and p.grad.any() for p in policy.parameters())


def test_adapters_need_no_second_copy_of_the_model():
    model = tiny()
    add_lora(model.module, 2)
    assert Policy(model, kl=1.0).reference == [model]
    whole = Policy(tiny(), kl=1.0)
    assert whole.reference[0].module is not whole.module
    assert not any(p.requires_grad for p in whole.reference[0].module.parameters())


def test_a_reference_changes_nothing_in_the_losses():
    model = tiny()
    add_lora(model.module, 2)
    for p in model.module.parameters():
        if p.requires_grad:
            torch.nn.init.normal_(p, std=0.05)
    batch = model.collate(EXAMPLES)
    torch.manual_seed(5)
    out, _ = Policy(model, kl=1.0)(batch)
    torch.manual_seed(5)
    seed = int(torch.randint(2**31, ()))
    want = model.losses(batch, torch.Generator().manual_seed(seed))
    torch.testing.assert_close(out.text, want.text)
    torch.testing.assert_close(out.image, want.image)


def test_what_has_no_velocities_or_no_tokens_says_so():
    with pytest.raises(InputError, match="no velocities"):
        Policy(janus(), penalty=1.0)
    with pytest.raises(InputError, match="no tokens"):
        Policy(FakeModel(), kl=1.0)
