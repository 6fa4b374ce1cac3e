"""Draw-only models: tiny random pipelines of three kinds, a DDPM, a flow and a packed flow."""

import dataclasses

import diffusers
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    PreTrainedTokenizerFast,
    T5Config,
    T5EncoderModel,
)

from datagen.errors import InputError, ModelError
from datagen.models import load_model
from datagen.models.base import Example, GenerationConfig
from datagen.models.denoiser import conditioning, flow_shift, noised
from datagen.models.pipelines import PipelineModel, PipelineSettings

LENGTH = 16


def tokenizer() -> PreTrainedTokenizerFast:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {c: i for i, c in enumerate(["<pad>", *alphabet, "<s>", "</s>"])}
    raw = Tokenizer(models.BPE(vocab, []))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    ends = [("<s>", vocab["<s>"]), ("</s>", vocab["</s>"])]
    raw.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=ends)
    return PreTrainedTokenizerFast(
        tokenizer_object=raw, bos_token="<s>", eos_token="</s>", pad_token="<pad>", model_max_length=LENGTH
    )


def clip(kind):
    return kind(
        CLIPTextConfig(
            vocab_size=260, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
            projection_dim=16, max_position_embeddings=LENGTH, bos_token_id=257, eos_token_id=258, pad_token_id=0,
        )
    )  # fmt: skip


def vae(channels: int, shift: float | None):
    return diffusers.AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(32, 32), layers_per_block=1, latent_channels=channels, norm_num_groups=32,
        scaling_factor=0.5, shift_factor=shift, use_quant_conv=shift is None, use_post_quant_conv=shift is None,
    )  # fmt: skip


def ddpm():
    return diffusers.StableDiffusionPipeline(
        unet=diffusers.UNet2DConditionModel(
            sample_size=8, in_channels=4, out_channels=4, block_out_channels=(32, 32), layers_per_block=1,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), cross_attention_dim=16,
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), attention_head_dim=2,
        ),
        scheduler=diffusers.DDIMScheduler(clip_sample=False), vae=vae(4, None), tokenizer=tokenizer(),
        text_encoder=clip(CLIPTextModel), safety_checker=None, feature_extractor=None,
        requires_safety_checker=False,
    )  # fmt: skip


def t5() -> T5EncoderModel:
    config = T5Config(vocab_size=260, d_model=32, d_kv=8, d_ff=24, num_layers=1, num_heads=2, pad_token_id=0)
    return T5EncoderModel(config)


def flow():
    return diffusers.StableDiffusion3Pipeline(
        transformer=diffusers.SD3Transformer2DModel(
            sample_size=8, patch_size=2, in_channels=4, out_channels=4, num_layers=1, attention_head_dim=8,
            num_attention_heads=2, joint_attention_dim=32, caption_projection_dim=16, pooled_projection_dim=32,
            pos_embed_max_size=8,
        ),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0), vae=vae(4, 0.1),
        text_encoder=clip(CLIPTextModelWithProjection), tokenizer=tokenizer(),
        text_encoder_2=clip(CLIPTextModelWithProjection), tokenizer_2=tokenizer(),
        text_encoder_3=t5(), tokenizer_3=tokenizer(),
    )  # fmt: skip


def packed():
    return diffusers.FluxPipeline(
        transformer=diffusers.FluxTransformer2DModel(
            patch_size=1, in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16,
            num_attention_heads=2, joint_attention_dim=32, pooled_projection_dim=16, axes_dims_rope=(4, 6, 6),
            guidance_embeds=True,
        ),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True), vae=vae(4, 0.1),
        text_encoder=clip(CLIPTextModel), tokenizer=tokenizer(),
        text_encoder_2=t5(), tokenizer_2=tokenizer(),
    )  # fmt: skip


BUILD = {"ddpm": ddpm, "flow": flow, "packed": packed}
SETTINGS = PipelineSettings(image_size=16, steps=2, batch=2, condition_dropout=0.0)
RED = Image.new("RGB", (16, 16), "red")
GIVEN = GenerationConfig(trace="given")


def build(kind: str) -> PipelineModel:
    torch.manual_seed(0)
    return PipelineModel(BUILD[kind](), SETTINGS, kind)


@pytest.fixture(scope="module", params=BUILD)
def model(request):
    return build(request.param)


def losses(model, examples):
    return model.losses(model.collate(examples), torch.Generator().manual_seed(0))


def test_it_draws_from_prompt_and_trace_and_is_always_forced(model):
    made = model.generate(["a circle"] * 3, [1, 1, 1], GIVEN, ["red", "red", "blue"])
    assert [(s.transition, s.trace) for s in made] == [("forced", t) for t in ("red", "red", "blue")]
    assert all(s.image.size == (16, 16) for s in made)
    assert made[0].image.tobytes() == made[1].image.tobytes()


def test_what_it_draws_follows_from_the_prompt_and_the_seed_not_the_batch(model):
    config = GenerationConfig(trace="none")
    made = model.generate(["a", "b", "c"], [1, 2, 3], config)
    alone = model.generate(["c"], [3], config)
    apart = torch.tensor([[*s.image.getdata()] for s in (made[2], alone[0])]).diff(dim=0).abs().max()
    assert apart <= 1
    assert model.generate(["c"], [4], config)[0].image.tobytes() != alone[0].image.tobytes()


def test_it_writes_no_trace_itself(model):
    with pytest.raises(ModelError, match=r"only draws.*trace: llm"):
        model.generate(["a"], [1], GenerationConfig())
    with pytest.raises(ModelError, match="one trace a prompt"):
        model.generate(["a"], [1], GIVEN, [])


def test_the_denoiser_is_called_as_its_pipeline_calls_it(model):
    """With the pipeline's own latents and time, the rebuilt call says what the pipeline's did."""
    seen = []
    hook = model.module.register_forward_hook(
        lambda m, args, kwargs, out: seen.append((args, kwargs, out)), with_kwargs=True
    )
    call = conditioning(model, ["a circle"])
    assert not seen  # the recording stops before the denoiser runs
    arguments = {"num_inference_steps": 4, "height": 16, "width": 16, **model.guidance(1.0)}
    with torch.no_grad():
        model.pipe(
            ["a circle"], generator=torch.Generator().manual_seed(0), output_type="latent", **arguments
        )
    hook.remove()
    args, kwargs, out = seen[0]
    x = kwargs.get("hidden_states", args[0] if args else None)
    call.packed = lambda latents: latents
    with torch.no_grad():
        again = call(x, model.pipe.scheduler.timesteps[:1])
    assert torch.allclose(again, out[0], atol=1e-5)


def test_losses_are_the_regression_worked_out_by_hand(model):
    batch = model.collate([Example("a circle", "red", RED)])
    out = model.losses(batch, torch.Generator().manual_seed(3))
    generator = torch.Generator().manual_seed(3)
    torch.rand(1, generator=generator)  # whether the text is dropped
    noise = torch.randn(batch.image.shape, generator=generator)
    call = conditioning(model, ["a circle\nred"])
    x0 = batch.image
    if model.name == "ddpm":
        t = torch.randint(1000, (1,), generator=generator)
        kept = float(model.pipe.scheduler.alphas_cumprod[t])
        x_t, target, passed = kept**0.5 * x0 + (1 - kept) ** 0.5 * noise, noise, t
    else:
        u = torch.randn(1, generator=generator).sigmoid()
        shift = flow_shift(model, x0)
        t = shift * u / (1 + (shift - 1) * u)
        x_t, target, passed = (1 - t) * x0 + t * noise, noise - x0, 1000 * t
    with torch.no_grad():
        want = float((call(x_t, passed) - call.packed(target)).pow(2).mean())
    assert float(out.image.detach()) == pytest.approx(want, rel=1e-5)
    assert float(out.text) == float(out.opening) == 0


def test_the_text_reaches_the_loss(model):
    one, other = (float(losses(model, [Example(p, "", RED)]).image.detach()) for p in ("aaaa", "bbbb"))
    assert one != pytest.approx(other, rel=1e-6)


def test_dropped_text_does_not(model):
    was, model.settings = model.settings, dataclasses.replace(model.settings, condition_dropout=1.0)
    try:
        one, other = (float(losses(model, [Example(p, "", RED)]).image.detach()) for p in ("aaaa", "bbbb"))
    finally:
        model.settings = was
    assert one == pytest.approx(other, rel=1e-6)


def test_a_weight_of_zero_gives_a_gradient_of_zero_and_only_the_denoiser_trains(model):
    model.module.zero_grad()
    losses(model, [Example("a", "red", RED, image_weight=0.0)]).loss.backward()
    assert all(p.grad is None or not p.grad.any() for p in model.module.parameters())
    assert not any(p.requires_grad for p in model.pipe.vae.parameters())
    assert not any(p.requires_grad for p in model.pipe.text_encoder.parameters())


def test_an_example_without_an_image_costs_nothing(model):
    out = losses(model, [Example("a", "red", RED), Example("a", "red", None)])
    assert (out.image > 0).tolist() == [True, False]
    assert float(losses(model, [Example("a", "red", None)]).loss) == 0


@pytest.mark.parametrize("kind", BUILD)
def test_lora_training_lowers_the_loss_and_merges_into_an_ordinary_pipeline(kind, tmp_path):
    from trainer.adapters import add_lora, merge_lora

    model = build(kind)
    add_lora(model.module, 4)
    trained = [p for _, p in model.module.named_parameters() if p.requires_grad]
    assert trained and len(trained) == sum("lora_" in n for n, _ in model.module.named_parameters())
    batch = model.collate([Example("a circle", "red", RED)] * 4)

    def loss() -> torch.Tensor:
        return model.losses(batch, torch.Generator().manual_seed(0)).loss

    before = float(loss().detach())
    optimizer = torch.optim.AdamW(trained, lr=3e-2)
    model.module.train()
    for _ in range(8):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    model.module.eval()
    after = float(loss().detach())
    assert after < 0.97 * before
    merge_lora(model.module)
    model.save(str(tmp_path))
    again = load_model(str(tmp_path))
    assert again.settings == model.settings
    assert float(again.losses(batch, torch.Generator().manual_seed(0)).loss.detach()) == pytest.approx(
        after, rel=1e-4
    )
    config = GenerationConfig(trace="none")
    one, other = model.generate(["a"], [1], config)[0], again.generate(["a"], [1], config)[0]
    assert one.image.tobytes() == other.image.tobytes()


def test_flows_are_shifted_as_their_scheduler_says():
    assert flow_shift(build("flow"), torch.zeros(1, 4, 8, 8)) == 3.0
    few, many = (flow_shift(build("packed"), torch.zeros(1, 4, s, s)) for s in (32, 128))
    assert few == pytest.approx(2.71828**0.5, rel=1e-4)  # base_shift 0.5 at 256 tokens
    assert many == pytest.approx(2.71828**1.15, rel=1e-4)  # max_shift 1.15 at 4096


@pytest.mark.parametrize("kind", ["sample", "v_prediction"])
def test_other_ddpm_targets_are_what_their_names_say(kind):
    model = build("ddpm")
    model.pipe.scheduler.register_to_config(prediction_type=kind)
    x0, noise = torch.ones(1, 4, 8, 8), torch.full((1, 4, 8, 8), 2.0)
    x_t, t, target = noised(model, x0, noise, torch.Generator().manual_seed(0))
    kept = model.pipe.scheduler.alphas_cumprod[t]
    if kind == "sample":
        assert torch.equal(target, x0)
    else:  # the velocity that gives the image back: sqrt(kept) x_t - sqrt(1 - kept) v
        assert torch.allclose(kept.sqrt() * x_t - (1 - kept).sqrt() * target, x0, atol=1e-5)


def test_what_cannot_be_trained_says_so_and_still_draws():
    model = build("ddpm")
    model.pipe.scheduler = diffusers.SCMScheduler()
    with pytest.raises(ModelError, match="SCMScheduler is neither a flow nor a DDPM: it only draws"):
        noised(model, torch.zeros(1, 4, 8, 8), torch.zeros(1, 4, 8, 8), None)
    model = build("flow")
    model.pipe.vae = torch.nn.Identity()
    with pytest.raises(ModelError, match="autoencoder Identity; trainable: AutoencoderKL"):
        model.collate([Example("a", "", RED)])


def test_guidance_goes_by_the_pipelines_own_name_for_it(model):
    assert model.guidance(2.0) == {"guidance_scale": 2.0}
    model.takes = {**model.takes, "true_cfg_scale": None}
    was = getattr(model.module.config, "guidance_embeds", None)
    model.module.register_to_config(guidance_embeds=False)
    assert model.guidance(2.0) == {"true_cfg_scale": 2.0, "negative_prompt": " "}
    model.module.register_to_config(guidance_embeds=was if was is not None else True)


def test_a_pipeline_must_be_named_and_be_one(tmp_path):
    with pytest.raises(InputError, match="diffusers:OWNER/NAME"):
        load_model("diffusers")
    (tmp_path / "model_index.json").write_text('{"_class_name": "NoSuchPipeline"}')
    with pytest.raises(ModelError, match="not a pipeline of diffusers"):
        load_model(str(tmp_path))


def test_the_trainer_trains_it_from_a_weighted_dataset(model, weighted_dataset, tmp_path):
    from trainer import TrainConfig, train

    model.save(str(tmp_path / "model"))
    config = TrainConfig(
        data=weighted_dataset, out=tmp_path / "out", model=str(tmp_path / "model"), steps=2, batch_size=2, lora=2,
        bf16=False, weight=("image",),
    )  # fmt: skip
    summary = train(config)
    assert summary.steps == 2
    assert "loss_image" in summary.last and "loss_text" not in summary.last
    assert load_model(str(tmp_path / "out")).settings == model.settings
