"""The unified model on a tiny random config: losses, generation, transition, checkpoint."""

import dataclasses
import random

import pytest
import torch
from PIL import Image

from datagen.errors import ModelError
from datagen.models.bagel import BagelModel, load
from datagen.models.bagel.config import BAGEL_7B, BagelConfig
from datagen.models.bagel.layers import rope, rotate, sincos_2d
from datagen.models.bagel.model import Bagel
from datagen.models.bagel.tokenizer import train_tokenizer
from datagen.models.base import Example, GenerationConfig
from datagen.scenes.captions import sample_caption
from datagen.scenes.draw import draw_layout

TINY = BagelConfig(
    vocab_size=400,
    hidden_size=48,
    intermediate_size=96,
    num_layers=2,
    num_heads=4,
    num_kv_heads=2,
    steps=3,
    timestep_shift=1.0,
)


def build(config: BagelConfig = TINY, seed: int = 0) -> BagelModel:
    rng = random.Random(0)
    captions = [sample_caption(rng) for _ in range(300)]
    tokenizer = train_tokenizer([t for c in captions for t in (c.prompt, c.trace)], config.vocab_size)
    torch.manual_seed(seed)
    network = Bagel(config)
    torch.nn.init.normal_(network.llm2vae.weight, std=0.02)
    return BagelModel(network, tokenizer, "tiny")


@pytest.fixture(scope="module")
def model() -> BagelModel:
    return build()


def examples(n: int = 3, **kwargs) -> list[Example]:
    rng = random.Random(1)
    out = []
    for _ in range(n):
        caption = sample_caption(rng, "two_object")
        image = Image.fromarray(draw_layout(caption.layout, rng))
        out.append(Example(caption.prompt, caption.trace, image, **kwargs))
    return out


FROZEN_TEXT = [6.015289, 6.036420, 5.997777]  # without the opening token
FROZEN_IMAGE = [1.286633, 4.946883, 77.986534]


def losses(model: BagelModel, batch: list[Example]):
    return model.losses(model.collate(batch), torch.Generator().manual_seed(0))


def test_losses_are_frozen_numbers(model):
    out = losses(model, examples())
    assert out.text.tolist() == pytest.approx(FROZEN_TEXT, rel=1e-4)
    assert out.image.tolist() == pytest.approx(FROZEN_IMAGE, rel=1e-4)


def test_the_opening_token_has_its_own_term(model):
    with_, without = losses(model, examples()), losses(model, examples(open_image=False))
    assert torch.allclose(with_.text, without.text, atol=1e-5)
    assert without.opening.tolist() == [0.0, 0.0, 0.0]
    assert all(value > 1 for value in with_.opening.tolist())


def test_a_batch_without_pictures_has_the_same_text_loss(model):
    bare = [dataclasses.replace(e, image=None) for e in examples()]
    out = losses(model, bare)
    assert torch.allclose(out.text, losses(model, examples()).text, atol=1e-5)
    assert out.image.tolist() == [0.0, 0.0, 0.0]
    out.loss.backward()


def test_padding_does_not_change_a_samples_text_loss(model):
    batch = examples(4)
    together = losses(model, batch).text
    alone = torch.cat([losses(model, [example]).text for example in batch])
    assert torch.allclose(together, alone, atol=1e-5)


def test_a_zero_weight_sample_gives_zero_gradient(model):
    batch = examples(1, text_weight=0.0, image_weight=0.0)
    model.network.zero_grad()
    losses(model, batch).loss.backward()
    assert all(p.grad is None or p.grad.abs().max() == 0 for p in model.network.parameters())


def test_the_opening_token_is_supervised_only_when_asked(model):
    asked = model.collate(examples(1))
    unasked = model.collate(examples(1, open_image=False))
    assert model.tokenizer.start_of_image in asked.labels[asked.label_mask].tolist()
    assert model.tokenizer.start_of_image not in unasked.labels[unasked.label_mask].tolist()


def test_overfitting_teaches_it_to_open_the_image_itself():
    model = build()
    before = model.generate(["two circles"] * 4, [1, 2, 3, 4], GenerationConfig(max_trace_tokens=12))
    assert all(s.image is None and s.transition == "none" for s in before)
    batch = model.collate([Example("two circles", "red", Image.new("RGB", (48, 48), "white"))] * 4)
    optimizer = torch.optim.AdamW(model.network.parameters(), lr=5e-3)
    model.network.train()
    for _ in range(40):
        optimizer.zero_grad()
        model.losses(batch).loss.backward()
        optimizer.step()
    after = model.generate(["two circles"] * 4, [1, 2, 3, 4], GenerationConfig(temperature=0.5))
    assert [s.transition for s in after] == ["model"] * 4
    assert {s.trace for s in after} == {"red"}
    assert all(s.image is not None and s.image.size == (48, 48) for s in after)


def test_a_model_that_never_opens_has_no_image_unless_forced(model):
    config = GenerationConfig(max_trace_tokens=400, temperature=1.0)
    traces = ["red circle top left"] * 2
    given = dataclasses.replace(config, trace="given")
    free = model.generate(["a", "b"], [1, 2], given, traces)
    assert [(s.image, s.transition) for s in free] == [(None, "none")] * 2
    forced = model.generate(["a", "b"], [1, 2], dataclasses.replace(given, force=True), traces)
    assert [s.transition for s in forced] == ["forced"] * 2
    assert all(s.image is not None for s in forced)


def test_traces_are_written_at_the_models_own_temperature_unless_another_is_asked(model):
    def written(own, asked):
        warm = BagelModel(model.network, model.tokenizer)
        warm.network.config = dataclasses.replace(TINY, temperature=own)
        config = GenerationConfig(max_trace_tokens=12, temperature=asked)
        return warm.generate(["a red circle"] * 2, [1, 2], config)[0].trace_ids.tolist()

    try:
        assert written(0.3, None) == written(1.0, 0.3) != written(1.0, None) == written(0.3, 1.0)
        assert BAGEL_7B.temperature == 0.3
    finally:
        model.network.config = TINY


def test_drawing_without_a_trace_is_always_forced(model):
    (sample,) = model.generate(["a red circle"], [3], GenerationConfig(trace="none"))
    assert sample.transition == "forced"
    assert sample.trace == ""
    assert sample.image is not None


def test_a_candidate_depends_on_its_own_seed_not_on_its_batch(model):
    config = GenerationConfig(trace="none", cfg=2.0)
    prompts = ["a red circle", "three blue stars on a plain background"]
    together = model.generate(prompts, [3, 4], config)
    alone = model.generate(prompts[1:], [4], config)
    assert torch.allclose(together[1].image_repr, alone[0].image_repr, atol=1e-4)


def test_the_cache_gives_the_same_logits_as_one_full_pass(model):
    from datagen.models.bagel.generate import _TextPass

    ids = model.tokenizer.block("a red circle")
    others = model.tokenizer.block("three blue stars on a plain background")
    cpu = torch.device("cpu")
    with torch.inference_mode():
        stepped = _TextPass(model, cpu)
        stepped.read([ids[:-1], others])
        step = stepped._step(torch.tensor([ids[-1], others[-1]]), torch.tensor([True, True]))
        full = _TextPass(model, cpu).read([ids])
    assert torch.allclose(step[0], full[0], atol=1e-5)


def test_given_traces_must_match_the_prompts(model):
    with pytest.raises(ModelError, match="one trace a prompt"):
        model.generate(["a"], [1], GenerationConfig(trace="given"), [])


def test_a_checkpoint_round_trip_changes_nothing(model, tmp_path):
    model.save(str(tmp_path))
    again = load(str(tmp_path))
    assert again.config == model.config
    assert torch.equal(losses(model, examples()).image, losses(again, examples()).image)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_torn_checkpoint_names_the_file(model, tmp_path, name):
    model.save(str(tmp_path))
    path = tmp_path / name
    if name == "tokenizer.json":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(ModelError, match=name):
        load(str(tmp_path))


def test_an_unknown_config_field_lists_the_valid_ones(model, tmp_path):
    model.save(str(tmp_path))
    path = tmp_path / "config.json"
    path.write_text(path.read_text().replace("num_layers", "n_layers"))
    with pytest.raises(ModelError, match="num_layers"):
        load(str(tmp_path))


def test_patchify_is_undone_by_unpatchify(model):
    x = torch.randn(2, 3, 48, 48)
    assert torch.equal(model.network.unpatchify(model.network.patchify(x)), x)


def test_rotary_scores_depend_on_relative_position_only():
    q, k = torch.randn(1, 1, 1, 8), torch.randn(1, 1, 1, 8)

    def score(a: int, b: int) -> float:
        qa = rotate(q, *rope(torch.tensor([[a]]), 8, 10_000.0))
        kb = rotate(k, *rope(torch.tensor([[b]]), 8, 10_000.0))
        return float((qa * kb).sum())

    assert score(3, 1) == pytest.approx(score(12, 10), abs=1e-5)


def test_position_table_is_distinct_for_every_patch():
    table = sincos_2d(8, 48)
    assert len({tuple(row) for row in table.round(decimals=4).tolist()}) == 64


def test_state_dict_keys_are_upstreams(model):
    keys = set(model.network.state_dict())
    for key in (
        "language_model.model.embed_tokens.weight",
        "language_model.model.layers.0.self_attn.q_proj_moe_gen.bias",
        "language_model.model.layers.0.self_attn.k_norm.weight",
        "language_model.model.layers.0.mlp_moe_gen.down_proj.weight",
        "language_model.model.layers.0.post_attention_layernorm_moe_gen.weight",
        "language_model.model.norm_moe_gen.weight",
        "language_model.lm_head.weight",
        "time_embedder.mlp.0.weight",
        "vae2llm.bias",
        "llm2vae.weight",
        "latent_pos_embed.pos_embed",
    ):
        assert key in keys


def test_the_seven_b_config_has_the_counted_size():
    with torch.device("meta"):
        network = Bagel(BAGEL_7B)
    tower = sum(p.numel() for p in network.vit_model.parameters())
    assert tower == pytest.approx(0.4e9, rel=0.05)
    assert sum(p.numel() for p in network.parameters()) - tower == pytest.approx(14.17e9, rel=0.01)
