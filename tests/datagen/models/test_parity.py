"""BAGEL's losses, its tower and its autoencoder against NVIDIA NeMo AutoModel's implementation.

The numbers in ``parity.json`` were printed by NeMo AutoModel 0.7.0, once, in float32 on a CPU, from the
tensors made here: run this file as a script, in an environment where ``nemo-automodel`` and ``einops``
are installed with ``pip install --no-deps``, to make them again. NeMo casts attention to bfloat16 and
wants flash attention; both are replaced by float32 SDPA there, and nothing else is.
"""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from datagen.models.bagel.codec import FluxCodec, autoencoder
from datagen.models.bagel.config import BAGEL_7B
from datagen.models.bagel.model import Bagel
from datagen.models.base import UnifiedBatch

NUMBERS = Path(__file__).with_name("parity.json")
CONFIG = replace(
    BAGEL_7B,
    vocab_size=64,
    hidden_size=64,
    intermediate_size=96,
    num_layers=3,
    num_heads=4,
    num_kv_heads=2,
    image_size=32,
    latent_channels=4,
    latent_downsample=2,
    max_latent_size=10,
    training_shift=3.0,
    condition_dropout=0.0,
    vit_layers=2,
    vit_hidden_size=32,
    vit_intermediate_size=48,
    vit_heads=4,
    vit_patch_size=4,
    vit_side=6,
)
LENGTHS, LABELS = (7, 12, 9), (3, 4, 0)  # tokens of each sample, and from where on they are labelled
BORDER = (60, 61)
TOKENS = CONFIG.image_tokens


def numbers(n: int, seed: int, scale: float = 1.0) -> torch.Tensor:
    return torch.randn(n, generator=torch.Generator().manual_seed(seed)) * scale


def network() -> Bagel:
    """Every weight its own draw, norms and biases too: an identity would hide a missing one."""
    model = Bagel(CONFIG)
    model.border = BORDER
    with torch.no_grad():
        for i, (name, p) in enumerate(sorted(model.named_parameters())):
            if "pos_embed" in name and "vit_model" not in name:
                continue  # fixed tables, which both compute
            centre = 1.0 if name.endswith("weight") and p.ndim == 1 else 0.0
            p.copy_(centre + numbers(p.numel(), i, 0.1).view_as(p))
    return model


def batch() -> UnifiedBatch:
    longest = max(LENGTHS)
    rows = [(numbers(n, 100 + i).abs() * 50).long() % 60 for i, n in enumerate(LENGTHS)]
    ids = torch.stack([F.pad(r, (0, longest - len(r))) for r in rows])
    labels = torch.full_like(ids, -1)
    for i, (n, start) in enumerate(zip(LENGTHS, LABELS, strict=True)):
        labels[i, start : n - 1] = rows[i][start + 1 :]
        labels[i, n - 1] = BORDER[0]
    return UnifiedBatch(
        input_ids=ids,
        text_mask=torch.arange(longest) < torch.tensor(LENGTHS)[:, None],
        label_mask=labels >= 0,
        labels=labels,
        image=numbers(3 * 4 * 16 * 16, 7).view(3, 4, 16, 16),
        image_mask=torch.ones(3, dtype=torch.bool),
        text_weight=torch.ones(3),
        image_weight=torch.ones(3),
    )


def draws() -> tuple[torch.Tensor, torch.Tensor]:
    """The normal numbers behind each sample's time, and the noise, as ``predict`` draws them."""
    generator = torch.Generator().manual_seed(11)
    return torch.randn(3, generator=generator), torch.randn(3, TOKENS, CONFIG.patch_dim, generator=generator)


PATCHES = numbers(12 * 48, 21).view(1, 12, 48)  # 3 x 4 patches of one picture
PLACES = (torch.arange(3)[:, None] * CONFIG.vit_side + torch.arange(4)).flatten()
PIXELS = numbers(3 * 16 * 16, 31, 0.5).view(1, 3, 16, 16)


def codec() -> FluxCodec:
    vae = autoencoder([32, 64], 1, 4)
    with torch.no_grad():
        for i, (_, p) in enumerate(sorted(vae.named_parameters())):
            p.copy_(numbers(p.numel(), 500 + i, 0.05).view_as(p))
    return FluxCodec(vae)


def ours() -> dict[str, list[float]]:
    model = network()
    out = model.losses(batch(), torch.Generator().manual_seed(11))
    with torch.no_grad():
        seen = model.connector(model.vit_model(PATCHES, PLACES)) + model.vit_pos_embed(PLACES)
        coded = codec().encode(PIXELS)
        shown = codec().decode(coded)
    return {
        "text": out.text.tolist(),
        "opening": out.opening.tolist(),
        "image": out.image.tolist(),
        "seen": seen[0, ::5, ::16].flatten().tolist(),
        "coded": coded[0, :, ::3, ::3].flatten().tolist(),
        "shown": shown[0, :, ::5, ::5].flatten().tolist(),
    }


@pytest.mark.parametrize("name", ["text", "opening", "image", "seen", "coded", "shown"])
def test_numbers_are_those_of_an_independent_implementation(name, results):
    want = json.loads(NUMBERS.read_text())[name]
    assert results[name] == pytest.approx(want, rel=2e-5, abs=2e-6)


@pytest.fixture(scope="module")
def results() -> dict[str, list[float]]:
    return ours()


# -- the other implementation ----------------------------------------------------------------------


def theirs() -> dict[str, list[float]]:
    import contextlib
    from typing import Any

    import nemo_automodel.components.models.bagel.autoencoder as ae
    import nemo_automodel.components.models.bagel.model as nemo
    import nemo_automodel.components.models.bagel.modeling_qwen2_packed as qwen
    import nemo_automodel.components.models.bagel.modeling_siglip_navit as siglip
    from transformers import Qwen2Config

    from datagen.models.bagel.codec import upstream_names
    from datagen.models.bagel.upstream import llm_config, vit_config

    class Float32Torch:  # torch, with its bfloat16 taken for float32 and its noise ours
        bfloat16 = torch.float32

        def __getattr__(self, name: str) -> Any:
            return getattr(torch, name)

        def randn_like(self, x: torch.Tensor) -> torch.Tensor:
            return draws()[1].reshape(x.shape)

    def varlen(q, k, v, cu_seqlens_q, **_):
        heads = (x.transpose(0, 1)[None] for x in (q, k, v))
        assert len(cu_seqlens_q) == 2  # one picture
        return F.scaled_dot_product_attention(*heads)[0].transpose(0, 1)

    for module in (qwen, siglip, nemo):
        module.torch = Float32Torch()
    qwen.sdpa_kernel = lambda **_: contextlib.nullcontext()
    siglip._flash_attn_varlen = varlen

    reference = nemo.BagelForUnifiedMultimodal(
        nemo.BagelConfig(
            text_config=Qwen2Config(**llm_config(CONFIG), pad_token_id=63),
            vision_config=siglip.SiglipVisionConfig(**vit_config(CONFIG)),
            visual_gen=True,
            stage=2,
            vae_config={"z_channels": CONFIG.latent_channels, "downsample": CONFIG.latent_downsample},
            max_latent_size=CONFIG.max_latent_size,
            vit_max_num_patch_per_side=CONFIG.vit_side,
            timestep_shift=CONFIG.training_shift,
        )
    ).train()
    state = reference.state_dict_adapter.from_hf(network().state_dict(), stage="stage2")
    print(reference.load_state_dict(state, strict=True))

    b, (normal, _) = batch(), draws()
    block = TOKENS + 2
    lens = [n + block for n in LENGTHS]
    text_ids, text_at, latent_at, positions, labelled, labels, masks = [], [], [], [], [], [], []
    for i, n in enumerate(LENGTHS):
        start = sum(lens[:i])
        text_ids += [*b.input_ids[i, :n].tolist(), *BORDER]
        text_at += [*range(start, start + n), start + n, start + n + block - 1]
        latent_at += range(start + n + 1, start + n + 1 + TOKENS)
        positions += [*range(n), *[n] * block]
        labelled += (b.label_mask[i, :n].nonzero()[:, 0] + start).tolist()
        labels += b.labels[i, :n][b.label_mask[i, :n]].tolist()
        sees = torch.ones(lens[i], lens[i]).tril().bool()
        sees[n:, :] = True
        masks.append(torch.zeros(lens[i], lens[i]).masked_fill(~sees, -torch.inf))
    side = CONFIG.latent_side
    grid = (torch.arange(side)[:, None] * CONFIG.max_latent_size + torch.arange(side)).flatten()
    with torch.no_grad():
        out = reference(
            sequence_length=sum(lens),
            packed_text_ids=torch.tensor(text_ids),
            packed_text_indexes=torch.tensor(text_at),
            sample_lens=lens,
            packed_position_ids=torch.tensor(positions),
            nested_attention_masks=masks,
            padded_latent=b.image,
            patchified_vae_latent_shapes=[(side, side)] * 3,
            packed_latent_position_ids=grid.repeat(3),
            packed_vae_token_indexes=torch.tensor(latent_at),
            packed_timesteps=normal.repeat_interleave(TOKENS),
            mse_loss_indexes=torch.tensor(latent_at),
            ce_loss_indexes=torch.tensor(labelled),
            packed_label_ids=torch.tensor(labels),
        )
        m = reference.model
        ends = torch.tensor([0, len(PLACES)], dtype=torch.int32)
        features = m.vit_model(PATCHES[0], PLACES, cu_seqlens=ends, max_seqlen=len(PLACES))
        seen = m.connector(features) + m.vit_pos_embed(PLACES)
        params = ae.AutoEncoderParams(
            resolution=16, in_channels=3, downsample=2, ch=32, out_ch=3, ch_mult=[1, 2], num_res_blocks=1,
            z_channels=4, scale_factor=0.3611, shift_factor=0.1159,
        )  # fmt: skip
        encoder = ae.AutoEncoder(params)
        print(encoder.load_state_dict(upstream_names(codec().vae.state_dict(), 2), strict=True))
        encoder.reg.sample = False
        coded = encoder.encode(PIXELS)
        shown = encoder.decode(coded).clamp(-1, 1)
    ce, mse = out["ce"], out["mse"].mean(1).view(3, TOKENS).mean(1)
    per = ce.split(b.label_mask.sum(1).tolist())
    return {
        "text": [float(c[:-1].mean()) for c in per],
        "opening": [float(c[-1]) for c in per],
        "image": mse.tolist(),
        "seen": seen[::5, ::16].flatten().tolist(),
        "coded": coded[0, :, ::3, ::3].flatten().tolist(),
        "shown": shown[0, :, ::5, ::5].flatten().tolist(),
    }


if __name__ == "__main__":
    found, mine = theirs(), ours()
    for name, want in found.items():
        print(
            f"{name}: largest difference {max(abs(a - b) for a, b in zip(want, mine[name], strict=True)):.1e}"
        )
    NUMBERS.write_text(json.dumps(found, indent=1) + "\n")
