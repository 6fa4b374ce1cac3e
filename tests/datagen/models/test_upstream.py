"""A tiny random BAGEL in upstream's files: load, draw, look, train, save, and load again."""

import dataclasses
import json
import random

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from datagen.errors import InputError, ModelError
from datagen.models import load_model
from datagen.models.bagel import BagelModel, load
from datagen.models.bagel.codec import FluxCodec, autoencoder, load_codec, upstream_names
from datagen.models.bagel.config import BAGEL_7B, BagelConfig
from datagen.models.bagel.model import Bagel
from datagen.models.bagel.tokenizer import train_tokenizer
from datagen.models.bagel.vision import patches_of, spellings, viewed_size
from datagen.models.base import Example, GenerationConfig
from datagen.scenes.captions import sample_caption

TINY = dataclasses.replace(
    BAGEL_7B,
    vocab_size=512,
    hidden_size=64,
    intermediate_size=96,
    num_layers=2,
    num_heads=4,
    num_kv_heads=2,
    image_size=32,
    latent_channels=4,
    latent_downsample=2,
    max_latent_size=8,
    steps=3,
    max_trace_tokens=8,
    think_prompt="plan it",
    condition_dropout=0.0,
    vit_layers=2,
    vit_hidden_size=32,
    vit_intermediate_size=48,
    vit_heads=4,
    vit_side=4,
)


def build(config: BagelConfig = TINY) -> BagelModel:
    rng = random.Random(0)
    captions = [sample_caption(rng) for _ in range(200)]
    words = [t for c in captions for t in (c.prompt, c.trace)] + [
        "plan it Yes No yes no <think> </think>"
    ] * 40
    tokenizer = train_tokenizer(words, config.vocab_size)
    torch.manual_seed(0)
    network = Bagel(config)
    torch.nn.init.normal_(network.llm2vae.weight, std=0.02)
    return BagelModel(network, tokenizer, "tiny", FluxCodec(autoencoder([32, 32], 1, config.latent_channels)))


@pytest.fixture(scope="module")
def model() -> BagelModel:
    return build()


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("upstream")
    model.save(str(path))
    return path


RED = Image.new("RGB", (32, 32), "red")
FORCED = GenerationConfig(trace="given", force=True)


def test_the_folder_has_upstreams_files_and_names(folder):
    names = {p.name for p in folder.iterdir()}
    assert names >= {
        "ema.safetensors", "ae.safetensors", "config.json", "llm_config.json", "vit_config.json",
        "tokenizer.json", "preprocessor_config.json",
    }  # fmt: skip
    keys = set(load_file(folder / "ema.safetensors"))
    assert {
        "vit_model.vision_model.embeddings.patch_embedding.weight",
        "vit_model.vision_model.embeddings.position_embedding.weight",
        "vit_model.vision_model.encoder.layers.0.self_attn.out_proj.bias",
        "vit_model.vision_model.encoder.layers.1.layer_norm2.weight",
        "vit_model.vision_model.post_layernorm.weight",
        "connector.fc1.weight",
        "connector.fc2.bias",
        "vit_pos_embed.pos_embed",
        "language_model.model.layers.0.mlp_moe_gen.up_proj.weight",
    } <= keys
    codec = load_file(folder / "ae.safetensors")
    assert codec["encoder.mid.attn_1.q.weight"].shape == (32, 32, 1, 1)
    assert {"decoder.up.1.upsample.conv.weight", "decoder.up.0.block.1.norm1.weight"} <= set(codec)


def test_it_comes_back_the_same_and_draws_the_same(model, folder):
    again = load_model(str(folder))
    assert again.config == model.config
    again.drawing = None  # in the weights' own precision, as the other
    want = model.generate(["two circles"], [5], FORCED, ["red circle"])[0]
    got = again.generate(["two circles"], [5], FORCED, ["red circle"])[0]
    assert torch.equal(want.image_repr, got.image_repr)
    assert want.image_repr.shape == (4, 16, 16)
    assert want.image.size == (32, 32)
    assert want.image.tobytes() == got.image.tobytes()
    assert want.trace == "<think>\nred circle\n</think>"


def test_saving_again_keeps_the_small_files_and_only_adds_our_settings(folder, tmp_path):
    (folder / "generation_config.json").write_text('{"kept": 1}')
    load(str(folder)).save(str(tmp_path / "again"))
    assert (tmp_path / "again" / "generation_config.json").read_text() == '{"kept": 1}'
    was, now = (json.loads((f / "config.json").read_text()) for f in (folder, tmp_path / "again"))
    assert {k: v for k, v in now.items() if k != "datagen"} == {
        k: v for k, v in was.items() if k != "datagen"
    }


@pytest.fixture
def published(folder, tmp_path):
    """The folder as ByteDance publishes it: files that disagree with the weights, and none of ours."""
    for p in folder.iterdir():
        (tmp_path / p.name).write_bytes(p.read_bytes())
    top = json.loads((tmp_path / "config.json").read_text())
    del top["datagen"], top["llm_config"], top["vit_config"]
    top["max_latent_size"] = 32
    (tmp_path / "config.json").write_text(json.dumps(top))
    llm = json.loads((tmp_path / "llm_config.json").read_text())
    for key in ("qk_norm", "layer_module"):
        del llm[key]
    llm["tie_word_embeddings"] = True
    (tmp_path / "llm_config.json").write_text(json.dumps(llm))
    return tmp_path


def test_the_traps_of_the_published_files_are_settled_by_the_tensors(model, published):
    assert json.loads((published / "vit_config.json").read_text())["num_hidden_layers"] == 3
    again = load(str(published))
    assert (again.config.max_latent_size, again.config.vit_layers) == (8, 2)
    assert again.config.image_size == model.config.max_latent_size * 4
    assert again.config.cfg_renorm == "global" and again.config.think_tags
    assert torch.equal(
        again.network.language_model.lm_head.weight, model.network.language_model.lm_head.weight
    )


def test_special_tokens_that_qwens_file_lacks_are_added_as_upstream_does(published):
    path = published / "tokenizer.json"
    row = json.loads(path.read_text())
    special = {t["content"]: t for t in row["added_tokens"]}
    words = [w for w in sorted(row["model"]["vocab"], key=row["model"]["vocab"].get) if w not in special]
    row["model"]["vocab"] = {w: i for i, w in enumerate(words)}
    present = [t for t in special if "vision" not in t]  # after the words, as in Qwen2's file
    row["added_tokens"] = [{**special[t], "id": len(words) + i} for i, t in enumerate(present)]
    size = len(words) + len(present)
    path.write_text(json.dumps(row))
    tok = load(str(published)).tokenizer
    assert (tok.start_of_image, tok.end_of_image) == (size, size + 1)


def test_qwens_vocabulary_and_merges_are_read_where_there_is_no_tokenizer_file(model, published):
    row = json.loads((published / "tokenizer.json").read_text())
    (published / "vocab.json").write_text(json.dumps(row["model"]["vocab"]))
    merges = (m if isinstance(m, str) else " ".join(m) for m in row["model"]["merges"])
    (published / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n")
    (published / "tokenizer.json").unlink()
    (published / "tokenizer_config.json").write_text('{"tokenizer_class": "Qwen2Tokenizer"}')
    again = load(str(published))
    tok, was = again.tokenizer, model.tokenizer
    assert (tok.bos, tok.eos, tok.start_of_image) == (was.bos, was.eos, was.start_of_image)
    assert tok.decode(tok.encode("three blue stars")) == "three blue stars"
    again.save(str(published / "again"))
    assert load(str(published / "again")).tokenizer.encode("two circles") == tok.encode("two circles")


def test_a_convolution_in_place_of_the_linear_patch_embedding_is_read_too(model, published):
    state = load_file(published / "ema.safetensors")
    key = "vit_model.vision_model.embeddings.patch_embedding.weight"
    state[key] = state[key].unflatten(1, (14, 14, 3)).permute(0, 3, 1, 2).contiguous()
    save_file(state, published / "ema.safetensors")
    assert torch.equal(load(str(published)).network.state_dict()[key], model.network.state_dict()[key])


def test_options_in_the_name_override_the_settings(folder):
    assert load_model(f"bagel:{folder}?image_size=16&steps=5&cfg_renorm=channel").config.image_size == 16
    with pytest.raises(InputError, match=r"unknown option 'sise'.*image_size"):
        load_model(f"bagel:{folder}?sise=16")
    with pytest.raises(InputError, match="steps is 'many'; valid: a int"):
        load_model(f"bagel:{folder}?steps=many")
    with pytest.raises(ModelError, match="image_size is 64; valid: multiples of 4 up to 32"):
        load_model(f"bagel:{folder}?image_size=64")
    with pytest.raises(ModelError, match="cfg_renorm is 'local'; valid: none, global, channel, text_channel"):
        load_model(f"bagel:{folder}?cfg_renorm=local")


@pytest.mark.parametrize("name", ["ema.safetensors", "ae.safetensors", "config.json"])
def test_a_torn_file_is_named(published, name):
    path = published / name
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(ModelError, match=name):
        load(str(published))


def test_a_checkpoint_of_something_else_names_the_missing_tensor(published):
    save_file({"a": torch.zeros(1)}, published / "ema.safetensors")
    with pytest.raises(ModelError, match=r"ema.safetensors: tensor .*embed_tokens.weight is missing"):
        load(str(published))


def test_the_hub_that_cannot_be_reached_is_one_line(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelError, match="datagen-tests/none: not to be had from the Hub"):
        load_model("datagen-tests/none")


def test_the_codec_turns_names_both_ways_and_reads_its_sizes(tmp_path):
    vae = autoencoder([32, 64], 1, 4)
    FluxCodec(vae).save(tmp_path)
    again = load_codec(tmp_path / "ae.safetensors")
    want = vae.state_dict()
    assert again.vae.state_dict().keys() == want.keys()
    assert all(torch.equal(v, want[k]) for k, v in again.vae.state_dict().items())
    assert len(upstream_names(want, 2)) == len(want)
    pixels = torch.rand(1, 3, 16, 16) * 2 - 1
    raw = vae.encode(pixels).latent_dist.mean
    assert torch.allclose(again.encode(pixels), (raw - 0.1159) * 0.3611, atol=1e-6)
    assert again.decode(again.encode(pixels)).shape == pixels.shape


# -- drawing ---------------------------------------------------------------------------------------


def test_a_codec_that_was_rounded_is_saved_as_it_was_read(tmp_path):
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    FluxCodec(autoencoder([32, 32], 1, 4)).save(tmp_path / "first")
    before = (tmp_path / "first" / "ae.safetensors").read_bytes()
    codec = load_codec(tmp_path / "first" / "ae.safetensors")
    codec.vae.bfloat16()  # as a GPU holds it
    codec.save(tmp_path / "second")
    codec.save(tmp_path / "first")
    assert (tmp_path / "second" / "ae.safetensors").read_bytes() == before
    assert (tmp_path / "first" / "ae.safetensors").read_bytes() == before


def test_the_untuned_model_draws_only_when_forced(model):
    free = model.generate(["a", "b"], [1, 2], GenerationConfig(trace="given"), ["red", "blue"])
    assert [(s.image, s.transition) for s in free] == [(None, "none")] * 2
    forced = model.generate(["a", "b"], [1, 2], FORCED, ["red", "blue"])
    assert [s.transition for s in forced] == ["forced"] * 2


def test_rows_of_different_lengths_draw_as_they_do_alone(model):
    prompts, traces = ["a", "three blue stars above a circle"], ["red", "blue star top left ; red circle"]
    together = model.generate(prompts, [1, 2], FORCED, traces)
    for i in range(2):
        alone = model.generate([prompts[i]], [i + 1], FORCED, [traces[i]])[0]
        assert torch.allclose(alone.image_repr, together[i].image_repr, atol=1e-4)


def test_thinking_begins_with_the_thinking_prompt_and_plain_drawing_does_not(model):
    tok = model.tokenizer
    assert model.prompt_ids("a") == tok.block("plan it") + tok.block("a")
    plain = model.collate([Example("a", "", RED)])
    assert plain.input_ids[0].tolist() == tok.block("a")
    assert model.network.think_length(plain.input_ids).tolist() == [0]
    both = model.collate([Example("a", "red", RED)])
    assert model.network.think_length(both.input_ids).tolist() == [len(tok.block("plan it"))]


def drawn(model: BagelModel, prompt: str, trace: str, **sampler) -> torch.Tensor:
    was, model.network.config = model.network.config, dataclasses.replace(model.config, **sampler)
    try:
        return model.generate([prompt], [3], FORCED, [trace])[0].image_repr
    finally:
        model.network.config = was


def test_the_branch_without_the_prompt_sees_the_thinking_prompt_only(model):
    """At scale 0 the guided velocity is that branch's: then neither prompt nor trace can matter."""
    alone = {"cfg": 0.0, "cfg_interval": (0.0, 1.0), "cfg_renorm": "none"}
    one = drawn(model, "two circles", "red", **alone)
    assert torch.allclose(one, drawn(model, "a blue star", "blue circle top left", **alone), atol=1e-5)
    was, model.network.think = model.think_ids, ()
    try:
        model.think_ids = []
        assert not torch.allclose(one, drawn(model, "two circles", "red", **alone), atol=1e-3)
    finally:
        model.think_ids, model.network.think = was, tuple(was)


def test_the_second_scale_is_the_branch_without_the_trace(model):
    alone = {"cfg": 2.0, "cfg_img": 0.0, "cfg_interval": (0.0, 1.0), "cfg_renorm": "none"}
    one = drawn(model, "two circles", "red", **alone)
    assert torch.allclose(one, drawn(model, "two circles", "blue circle top left", **alone), atol=1e-5)
    assert not torch.allclose(one, drawn(model, "a blue star", "red", **alone), atol=1e-3)


def test_guidance_is_off_outside_its_interval(model):
    never = drawn(model, "two circles", "red", cfg=7.0, cfg_interval=(1.0, 1.0))
    assert torch.equal(never, drawn(model, "two circles", "red", cfg=1.0))


# -- training --------------------------------------------------------------------------------------


def test_dropped_text_leaves_the_thinking_prompt():
    model = build(dataclasses.replace(TINY, condition_dropout=1.0))

    def image_loss(prompt: str, think: str) -> float:
        model.think_ids = model.tokenizer.block(think)
        model.network.think = tuple(model.think_ids)
        batch = model.collate([Example(prompt, "red", RED)])
        return float(model.losses(batch, torch.Generator().manual_seed(0)).image)

    assert image_loss("a", "plan it") == pytest.approx(image_loss("three blue stars", "plan it"), abs=1e-6)
    assert image_loss("a", "plan it") != pytest.approx(image_loss("a", "Yes No"), abs=1e-6)


def test_activation_checkpointing_changes_no_gradient():
    def gradients(recompute: bool) -> dict[str, torch.Tensor]:
        model = build()
        if recompute:
            model.network.gradient_checkpointing_enable()
        batch = model.collate([Example("two circles", "red", RED), Example("a star", "", RED)])
        model.losses(batch, torch.Generator().manual_seed(0)).loss.backward()
        return {n: p.grad for n, p in model.network.named_parameters() if p.grad is not None}

    plain, recomputed = gradients(False), gradients(True)
    assert plain.keys() == recomputed.keys() and len(plain) > 40
    assert all(torch.allclose(plain[n], recomputed[n], atol=1e-6) for n in plain)


def test_a_weight_of_zero_gives_a_gradient_of_zero_and_the_tower_never_trains(model):
    model.network.zero_grad()
    batch = model.collate([Example("a", "red", RED, text_weight=0.0, image_weight=0.0)])
    model.losses(batch, torch.Generator().manual_seed(0)).loss.backward()
    assert all(p.grad is None or not p.grad.any() for p in model.network.parameters())
    assert not any(p.requires_grad for p in model.network.vit_model.parameters())
    assert not any(p.requires_grad for p in model.network.connector.parameters())


def test_overfitting_teaches_it_to_open_the_image_itself_and_the_folder_remembers(tmp_path):
    model = build()
    batch = model.collate([Example("two circles", "red", RED)] * 2)
    trained = [p for p in model.network.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=5e-3)
    model.network.train()
    for _ in range(40):
        optimizer.zero_grad()
        model.losses(batch).loss.backward()
        optimizer.step()
    model.save(str(tmp_path))
    config = GenerationConfig(max_trace_tokens=40)
    made = load(str(tmp_path)).generate(["two circles"] * 2, [1, 2], config)
    assert [s.transition for s in made] == ["model"] * 2
    assert {s.trace for s in made} == {"<think>\nred\n</think>"}


# -- looking ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ((1024, 1024), (980, 980)),
        ((512, 512), (518, 518)),
        ((100, 400), (224, 896)),
        ((3000, 300), (980, 98)),
    ],
)
def test_pictures_are_shown_in_upstreams_sizes(given, shown):
    assert viewed_size(*given, BAGEL_7B) == shown


def test_patches_go_row_by_row_with_the_towers_positions():
    image = Image.new("RGB", (56, 56), "black")
    image.putpixel((15, 0), (255, 255, 255))  # second patch, second column of its first row
    patches, ids = patches_of(image, TINY)
    assert patches.shape == (16, 588)
    assert ids.tolist() == list(range(16))
    assert patches[1, 3:6].tolist() == [1.0, 1.0, 1.0]
    assert patches[1, :3].tolist() == [-1.0, -1.0, -1.0]


def test_answers_are_probabilities_that_depend_on_the_picture(model):
    blue = Image.new("RGB", (64, 32), "blue")
    p = model.answer([RED, RED, blue], ["is it red"] * 3, ["yes", "no", "yes"])
    assert all(0 < x < 1 for x in p)
    assert p[0] != pytest.approx(p[2], rel=1e-4)


def test_an_answer_is_the_product_of_its_tokens_over_its_spellings(model):
    """Against one uncached pass over image, question and answer, a spelling at a time."""
    network, tok = model.network, model.tokenizer
    patches, ids = patches_of(RED, TINY)
    total = 0.0
    for words in spellings("yes"):
        tail = [*tok.block("is it red"), tok.bos, *tok.encode(words)]
        with torch.inference_mode():
            seen = network.connector(network.vit_model(patches[None], ids)) + network.vit_pos_embed(ids)
            border = network.embed(torch.tensor(network.border))[:, None]
            und = torch.cat(
                [border[0][None], seen, border[1][None], network.embed(torch.tensor([tail]))], dim=1
            )
            size = len(ids) + 2
            slots = torch.arange(und.shape[1])
            mask = (slots[:, None] >= slots) | (slots < size)
            hidden, _, _ = network.run(und, None, (slots - size + 1).clamp(min=0)[None], mask[None, None])
            logs = network.language_model.lm_head(hidden[0]).log_softmax(-1)
        n = len(tok.encode(words))
        at = und.shape[1] - n - 1
        total += float(sum(logs[at + i, tail[len(tail) - n + i]] for i in range(n)).exp())
    together = model.answer([RED, RED], ["is it red", "is it a longer question"], ["yes", "yes"])
    assert together[0] == pytest.approx(total, rel=1e-4)


def test_a_model_without_a_tower_says_that_it_cannot_look():
    with pytest.raises(ModelError, match="no understanding tower"):
        load_model("pocket").answer([RED], ["is it red"], ["yes"])


def test_the_trainer_trains_it_from_a_weighted_dataset(model, weighted_dataset, tmp_path):
    from trainer import TrainConfig, train

    model.save(str(tmp_path / "model"))
    config = TrainConfig(
        data=weighted_dataset, out=tmp_path / "out", model=str(tmp_path / "model"), steps=2, batch_size=2, lora=2,
        bf16=False,
    )  # fmt: skip
    summary = train(config)
    assert summary.steps == 2
    assert {"loss_text", "loss_image"} <= summary.last.keys()
    assert load(str(tmp_path / "out")).config == model.config
