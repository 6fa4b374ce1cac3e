"""Janus and Emu3 on tiny random configs: one pass, losses, guidance, LoRA, checkpoints."""

import dataclasses
import random
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    Emu3Config,
    Emu3ForConditionalGeneration,
    JanusConfig,
    JanusForConditionalGeneration,
    LlamaConfig,
    PreTrainedTokenizerFast,
)

from datagen.errors import InputError, ModelError
from datagen.models import load_model
from datagen.models.base import Example, GenerationConfig
from datagen.models.emu3 import DEFAULTS as EMU3
from datagen.models.emu3 import Emu3Model
from datagen.models.janus import DEFAULTS as JANUS
from datagen.models.janus import JanusModel
from datagen.scenes.captions import sample_caption

CODES = 48


def tokenizer(special: dict[str, str], more: list[str]) -> PreTrainedTokenizerFast:
    rng = random.Random(0)
    captions = [sample_caption(rng) for _ in range(200)]
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<pad>", "<s>", "</s>", *special.values(), *more],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator([t for c in captions for t in (c.prompt, c.trace)], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        extra_special_tokens=special,
    )


def janus() -> JanusModel:
    tok = tokenizer({"boi_token": "<begin_of_image>"}, [])
    torch.manual_seed(0)
    config = JanusConfig(
        text_config=LlamaConfig(
            vocab_size=400, hidden_size=48, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, pad_token_id=0, bos_token_id=1, eos_token_id=2,
        ),
        vision_config={
            "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 16,
            "patch_size": 4, "projection_dim": 48, "num_image_tokens": 16,
        },
        vq_config={
            "embed_dim": 8, "num_embeddings": CODES, "latent_channels": 32, "base_channels": 32,
            "channel_multiplier": [1, 1, 1], "num_res_blocks": 1, "projection_dim": 48,
            "image_token_embed_dim": 48,
        },
        image_token_id=3,
        tie_word_embeddings=False,
    )  # fmt: skip
    settings = dataclasses.replace(JANUS, condition_dropout=0.0, max_trace_tokens=6)
    return JanusModel(JanusForConditionalGeneration(config).eval(), tok, settings, "tiny-janus")


def emu3() -> Emu3Model:
    visual = [f"<|visual token {i:06d}|>" for i in range(CODES)]
    special = {
        "boi_token": "<|image start|>",
        "image_wrapper_token": "<|image token|>",
        "image_token": "<image>",
    }
    tok = tokenizer(special, ["<|extra_200|>", *visual])
    torch.manual_seed(0)
    config = Emu3Config(
        text_config={
            "vocab_size": 400, "hidden_size": 48, "intermediate_size": 64, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": 2, "attention_dropout": 0.0, "pad_token_id": 0,
            "bos_token_id": 1, "eos_token_id": 2,
        },
        vq_config={
            "codebook_size": CODES, "base_channels": 32, "channel_multiplier": [1, 1, 1], "num_res_blocks": 1,
            "attn_resolutions": [], "hidden_size": 32, "temporal_downsample_factor": 1,
        },
        vocabulary_map={t: i for t, i in tok.get_vocab().items() if t in {*visual, "<|extra_200|>", "<image>"}},
    )  # fmt: skip
    settings = dataclasses.replace(EMU3, image_size=16, condition_dropout=0.0, max_trace_tokens=6)
    return Emu3Model(Emu3ForConditionalGeneration(config).eval(), tok, settings, "tiny-emu3")


BUILD = {"janus": janus, "emu3": emu3}
RED = Image.new("RGB", (16, 16), "red")
GIVEN = GenerationConfig(trace="given", force=True)


@pytest.fixture(scope="module", params=BUILD)
def model(request):
    return BUILD[request.param]()


def losses(model, examples):
    return model.losses(model.collate(examples), torch.Generator().manual_seed(0))


# -- one pass --------------------------------------------------------------------------------------


def test_the_untuned_model_draws_only_when_forced(model):
    free = model.generate(["a", "b"], [1, 2], GenerationConfig(trace="given"), ["red", "blue"])
    assert [(s.image, s.transition) for s in free] == [(None, "none")] * 2
    forced = model.generate(["a", "b"], [1, 2], GIVEN, ["red", "blue"])
    assert [s.transition for s in forced] == ["forced"] * 2
    assert all(s.image.size == (16, 16) and s.image_repr.shape == (16,) for s in forced)
    assert [s.trace for s in forced] == ["red", "blue"]
    assert all(s.trace_ids[-1] == model.eos for s in forced)


def test_rows_of_different_lengths_draw_as_they_do_alone(model):
    prompts, traces = ["a", "three blue stars above a circle"], ["red", "blue star top left ; red circle"]
    together = model.generate(prompts, [1, 2], GIVEN, traces)
    for i in range(2):
        alone = model.generate([prompts[i]], [i + 1], GIVEN, [traces[i]])[0]
        assert torch.equal(alone.image_repr, together[i].image_repr)


def test_a_trace_that_does_not_end_is_cut_off_and_never_drawn(model):
    (s,) = model.generate(["a"], [1], GenerationConfig(max_trace_tokens=3, force=True))
    assert (s.image, s.transition) == (None, "none")
    assert len(s.trace_ids) == 3


def test_drawing_without_a_trace_is_always_forced(model):
    (s,) = model.generate(["a red circle"], [3], GenerationConfig(trace="none"))
    assert (s.transition, s.trace) == ("forced", "")
    assert s.image is not None


def test_given_traces_must_match_the_prompts(model):
    with pytest.raises(ModelError, match="one trace a prompt"):
        model.generate(["a"], [1], GenerationConfig(trace="given"), [])


def greedy(model) -> None:
    model.settings = dataclasses.replace(model.settings, code_temperature=0.0)


def test_janus_draws_what_transformers_own_loop_draws():
    model = janus()
    greedy(model)
    ids = torch.tensor([[*model.prompt_ids("a red circle", False), model.boi]])
    network = model.network
    network.generation_config.update(pad_token_id=0, bos_token_id=1, eos_token_id=2)
    network.generation_config.generation_kwargs = {"boi_token_id": model.boi}
    want = network.generate(
        ids, attention_mask=torch.ones_like(ids), generation_mode="image", do_sample=False, guidance_scale=5.0,
        max_length=ids.shape[1] + 16,
    )  # fmt: skip
    got = model.generate(["a red circle"], [1], GenerationConfig(trace="none", cfg=5.0))[0]
    assert got.image_repr.tolist() == want[0].tolist()


def test_emu3_draws_what_transformers_own_loop_draws_under_its_constraint():
    model = emu3()
    greedy(model)
    mapping, side = model.network.vocabulary_mapping, model.side
    header = [*model.encode(f"{side}*{side}"), model.token_id("image_wrapper")]
    ids = torch.tensor([[*model.prompt_ids("a red circle", False), model.boi, *header]])

    def allowed(_: int, sofar: torch.Tensor) -> list[int]:
        n = len(sofar) - ids.shape[1]
        return [mapping.eol_token_id] if n % (side + 1) == side else mapping.image_tokens

    other = torch.tensor([[model.bos, model.boi, *header]])
    out = model.network.generate(
        ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=side * (side + 1) - 1,
        prefix_allowed_tokens_fn=allowed, guidance_scale=3.0, negative_prompt_ids=other,
        negative_prompt_attention_mask=torch.ones_like(other),
    )  # fmt: skip
    drawn = torch.cat([out[0, ids.shape[1] :], torch.tensor([mapping.eol_token_id])]).view(1, side, side + 1)
    got = model.generate(["a red circle"], [1], GenerationConfig(trace="none", cfg=3.0))[0]
    assert got.image_repr.tolist() == mapping.convert_bpe2img(drawn).flatten().tolist()


def test_guidance_goes_through_the_second_cache(model):
    def drawn(prompt: str, cfg: float) -> list[int]:
        config = GenerationConfig(trace="given", force=True, cfg=cfg)
        return model.generate([prompt], [3], config, ["red"])[0].image_repr.tolist()

    assert drawn("two circles", 1.0) != drawn("two circles", 9.0)
    if isinstance(model, Emu3Model):  # at scale 0 only the branch without the text is left
        assert drawn("two circles", 0.0) == drawn("a blue star top left", 0.0)


def test_traces_hold_no_codes():
    model = emu3()
    model.network.lm_head.weight.data[model.code_ids] += 1.0
    (s,) = model.generate(["a"], [1], GenerationConfig(max_trace_tokens=5))
    assert not set(s.trace_ids.tolist()) & set(model.code_ids.tolist())


# -- losses ----------------------------------------------------------------------------------------


def test_losses_are_those_of_a_plain_pass_over_the_sequence(model):
    """Token by token, without padding, chunks or masks: sequence, shift, cross-entropy."""
    out = losses(
        model, [Example("two circles", "red circle", RED), Example("a star", "blue star top left", RED)]
    )
    prompt, trace = model.prompt_ids("two circles", True), model.trace_ids("red circle")
    codes = model.represent(RED)
    embed = model.network.get_input_embeddings()
    given = [t for t in model.block() if t is not None]
    tokens, code = [], 0
    for t in model.block():
        tokens.append(
            embed(torch.tensor([t])) if t is not None else model.embed_codes(codes[None, code : code + 1])[0]
        )
        code += t is None
    sequence = torch.cat([embed(torch.tensor([*prompt, *trace])), *tokens])
    with torch.no_grad():
        hidden = model.decoder(inputs_embeds=sequence[None]).last_hidden_state[0]
        text = model.network.lm_head(hidden).log_softmax(-1)
        image = model.code_logits(hidden).log_softmax(-1)
    start, n = len(prompt), len(trace)
    words = [-text[start - 1 + i, t] for i, t in enumerate(trace)]
    assert float(out.text[0]) == pytest.approx(float(sum(words) / n), rel=1e-4)
    assert float(out.opening[0]) == pytest.approx(float(-text[start + n - 1, model.boi]), rel=1e-4)
    at = [start + n + i for i, t in enumerate(model.block()) if t is None]
    each = [-image[p - 1, c] for p, c in zip(at, codes, strict=True)]
    assert float(out.image[0]) == pytest.approx(float(sum(each) / 16), rel=1e-4)
    assert model.boi in given


def test_what_is_absent_costs_nothing(model):
    both = [Example("a", "red", RED), Example("a", "", RED), Example("a", "red", None)]
    out = losses(model, both)
    assert (out.text > 0).tolist() == [True, False, True]
    assert (out.opening > 0).tolist() == [True, False, True]
    assert (out.image > 0).tolist() == [True, True, False]
    assert float(losses(model, both[2:]).text) == pytest.approx(float(out.text[2]), rel=1e-5)


def test_without_opening_the_trace_ends_with_the_end_of_text(model):
    batch = model.collate([Example("a", "red", None, open_image=False)])
    assert batch.labels[batch.label_mask].tolist()[-1] == model.eos
    assert float(losses(model, [Example("a", "red", None, open_image=False)]).opening) == 0


def test_a_weight_of_zero_gives_a_gradient_of_zero_and_the_codec_never_trains(model):
    model.network.zero_grad()
    losses(model, [Example("a", "red", RED, text_weight=0.0, image_weight=0.0)]).loss.backward()
    assert all(p.grad is None or not p.grad.any() for p in model.network.parameters())
    assert not any(p.requires_grad for part in model.frozen() for p in part.parameters())


def test_dropped_text_trains_the_branch_that_guidance_compares_with(model):
    was, model.settings = model.settings, dataclasses.replace(model.settings, condition_dropout=1.0)
    try:
        one, other = (losses(model, [Example(p, "red", RED)]) for p in ("aaaa", "bbbb"))
    finally:
        model.settings = was
    assert float(one.text) == float(one.opening) == 0
    assert len(model.prompt_ids("aaaa", True)) == len(model.prompt_ids("bbbb", True))
    assert float(one.image) == pytest.approx(float(other.image), rel=1e-6)


# -- training and checkpoints ----------------------------------------------------------------------


def overfit(model, parameters, lr: float = 2e-2) -> None:
    batch = model.collate([Example("two circles", "red", RED)] * 2)
    optimizer = torch.optim.AdamW(parameters, lr=lr)
    model.network.train()
    for _ in range(30):
        optimizer.zero_grad()
        model.losses(batch).loss.backward()
        optimizer.step()


@pytest.mark.parametrize("family", BUILD)
def test_traces_are_written_at_the_models_own_temperature_unless_another_is_asked(family):
    model = BUILD[family]()

    def written(own, asked):
        model.settings = dataclasses.replace(model.settings, temperature=own)
        config = GenerationConfig(max_trace_tokens=12, temperature=asked)
        return model.generate(["a red circle"], [1], config)[0].trace_ids.tolist()

    assert written(0.3, None) == written(1.0, 0.3) != written(1.0, None) == written(0.3, 1.0)


@pytest.mark.parametrize("family", BUILD)
def test_overfitting_teaches_it_to_open_the_image_itself_and_the_folder_remembers(family, tmp_path):
    model = BUILD[family]()
    overfit(model, [p for p in model.network.parameters() if p.requires_grad])
    model.files["chat_template.jinja"] = b"kept"
    model.save(str(tmp_path))
    again = load_model(str(tmp_path))
    assert again.settings == model.settings
    assert (tmp_path / "chat_template.jinja").read_bytes() == again.files["chat_template.jinja"] == b"kept"
    made = again.generate(["two circles"] * 2, [1, 2], GenerationConfig(temperature=0.3))
    assert [(s.transition, s.trace) for s in made] == [("model", "red")] * 2
    assert all(s.trace_ids[-1] == again.boi for s in made)
    want = model.generate(["two circles"], [1], GenerationConfig(temperature=0.3))[0]
    assert made[0].image_repr.tolist() == want.image_repr.tolist()


def test_lora_trains_adapters_only_and_merges_into_an_ordinary_checkpoint(model, tmp_path):
    from trainer.adapters import add_lora, merge_lora

    lora = BUILD[model.name.removeprefix("tiny-")]()
    add_lora(lora.module, 4)
    trained = [(n, p) for n, p in lora.module.named_parameters() if p.requires_grad]
    assert trained and all("lora_" in n for n, _ in trained)
    before = losses(lora, [Example("two circles", "red", RED)])
    overfit(lora, [p for _, p in trained], 5e-3)
    merge_lora(lora.module)
    lora.save(str(tmp_path))
    after = losses(load_model(str(tmp_path)), [Example("two circles", "red", RED)])
    assert float(after.loss) < 0.7 * float(before.loss)


def test_encoding_is_what_decoding_undoes_in_shape_and_range(model):
    pixels = torch.rand(2, 3, 16, 16) * 2 - 1
    codes = model.encode_image(pixels)
    assert codes.shape == (2, 16) and 0 <= int(codes.min()) <= int(codes.max()) < CODES
    again = model.decode_image(codes)
    assert again.shape == pixels.shape and again.abs().max() <= 1
    assert torch.allclose(model.denormalised(model.normalised(pixels)), pixels, atol=1e-6)


def test_the_codec_stays_as_it_was_while_the_rest_trains(model):
    """Emu3's has batch norms: in training mode they would follow the batch, and remember it."""
    pixels = torch.rand(2, 3, 16, 16) * 2 - 1
    want = model.encode_image(pixels)
    before = {k: v.clone() for k, v in model.network.model.vqmodel.state_dict().items()}
    model.network.train()
    assert torch.equal(model.encode_image(pixels), want)
    assert all(torch.equal(v, before[k]) for k, v in model.network.model.vqmodel.state_dict().items())
    assert model.decoder.training
    model.network.eval()


def test_options_override_settings_and_unknown_ones_are_named(model, tmp_path):
    model.save(str(tmp_path))
    assert load_model(f"{tmp_path}?cfg=2&top_k=5").settings.cfg == 2.0
    with pytest.raises(InputError, match=r"unknown option 'size'.*image_size"):
        load_model(f"{tmp_path}?size=3")


def test_weights_that_lack_tensors_are_refused(tmp_path):
    model = janus()
    model.save(str(tmp_path))
    from safetensors.torch import load_file, save_file

    state = load_file(tmp_path / "model.safetensors")
    del state["model.language_model.norm.weight"]
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"weights lack model.language_model.norm.weight"):
        load_model(str(tmp_path))


def test_a_tokenizer_without_the_opening_token_is_refused():
    tok = SimpleNamespace(unk_token_id=None, convert_tokens_to_ids=lambda t: None)
    with pytest.raises(ModelError, match="no token '<begin_of_image>'"):
        JanusModel(None, tok, JANUS, "x")


def test_the_codecs_normalisation_is_read_from_the_image_processor(tmp_path):
    model = janus()
    model.files["preprocessor_config.json"] = b'{"image_mean": [0.4, 0.4, 0.4], "image_std": [0.2, 0.2, 0.2]}'
    model.save(str(tmp_path))
    (tmp_path / "datagen.json").unlink()
    assert load_model(str(tmp_path)).settings.mean == (0.4, 0.4, 0.4)


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
    assert load_model(str(tmp_path / "out")).settings == model.settings
