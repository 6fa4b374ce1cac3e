"""What a model drew goes into the dataset and comes back, for its own codec and size only."""

import copy

import pytest
import torch
from safetensors.torch import load

from datagen.candidates import generate_candidates
from datagen.models import load_model
from datagen.models.base import GenerationConfig
from datagen.models.latent import identity, pack, unpack
from datagen.recipe import load_recipe
from datagen.sample import Sample, Target
from tests.datagen.models.test_upstream import build
from tests.datagen.models.test_vq import janus

PROMPT = Sample("a red circle", Target("single_object"), group_id="g")
BUILD = {"bagel": build, "janus": janus}


def recipe(k=2):
    plain = load_recipe("counting")
    return plain.model_copy(
        update={"trace": "none", "candidates": plain.candidates.model_copy(update={"k": k})}
    )


def test_codes_come_back_as_they_were_and_floats_within_half_a_thousandth():
    codes, latent = torch.randint(0, 16_384, (576,)), torch.randn(16, 8, 8)
    assert torch.equal(unpack(pack(codes, "c"), "c", torch.zeros_like(codes)), codes)
    back = unpack(pack(latent, "c"), "c", latent)
    assert back.dtype == torch.float32
    assert torch.allclose(back, latent, rtol=5e-4, atol=1e-6)
    assert load(pack(latent, "c"))["latent"].dtype == torch.float16


def test_another_codec_another_size_another_kind_and_torn_bytes_are_no_latent():
    latent = torch.randn(4, 8, 8)
    data = pack(latent, "c")
    assert data == pack(latent.clone(), "c")
    assert unpack(data, "d", latent) is None
    assert unpack(data, "c", torch.zeros(4, 16, 16)) is None
    assert unpack(data, "c", torch.zeros(4, 8, 8, dtype=torch.long)) is None
    assert unpack(data[:-5], "c", latent) is None
    assert unpack(b"", "c", latent) is None


def test_a_codec_is_the_same_in_bfloat16_and_another_with_other_weights():
    codec = build().codec.vae
    half, other = copy.deepcopy(codec).bfloat16(), copy.deepcopy(codec)
    assert identity(codec) == identity(half)
    next(other.parameters()).data.add_(1)
    assert identity(codec) != identity(other)


@pytest.mark.parametrize("family", BUILD)
def test_a_candidate_carries_what_its_model_drew(family):
    model = BUILD[family]()
    made = generate_candidates([PROMPT], model, recipe())
    again = model.generate(
        [s.prompt for s in made], [s.seed for s in made], GenerationConfig(trace="none", force=True, cfg=1.0)
    )
    for sample, one in zip(made, again, strict=True):
        got = unpack(sample.latent, model.codec_id, one.image_repr)
        assert torch.allclose(got.double(), one.image_repr.double(), rtol=1e-3, atol=1e-5)


def test_a_model_of_pixels_has_no_codec_and_its_candidates_no_latent():
    model = load_model("pocket")
    assert model.codec_id == ""
    assert [s.latent for s in generate_candidates([PROMPT], model, recipe(1))] == [None]
