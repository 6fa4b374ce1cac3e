"""The folder that ByteDance-Seed/BAGEL-7B-MoT is published in, read and written.

``ema.safetensors`` (network and tower), ``ae.safetensors`` (autoencoder), ``config.json``,
``llm_config.json``, ``vit_config.json`` and Qwen2's tokenizer. The files disagree with the weights in
places (``max_latent_size`` 32, 27 tower layers, tied embeddings), so sizes are read from the tensors'
shapes, and from the files only what no shape tells. What is saved keeps every name, and the small
files as they came, so that BAGEL's own tools and vLLM-Omni load it; our settings are the key
``datagen`` in ``config.json``, which both ignore.
"""

import json
from dataclasses import asdict, dataclass, field, replace
from math import isqrt
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from datagen.errors import ModelError
from datagen.models.bagel.codec import FILE as CODEC
from datagen.models.bagel.config import BAGEL_7B, BagelConfig

if TYPE_CHECKING:
    from datagen.models.bagel import BagelModel

WEIGHTS = ("ema.safetensors", "model.safetensors")
SMALL = 64 * 2**20  # bytes: what is carried along from folder to folder
# Settings that no tensor tells: ours to keep when the folder is saved.
KEPT = (
    "batch", "image_size", "timestep_shift", "training_shift", "cfg", "cfg_img", "cfg_interval", "cfg_renorm",
    "cfg_renorm_min", "steps", "temperature", "max_trace_tokens", "condition_dropout", "think_prompt",
    "think_tags",
)  # fmt: skip


@dataclass(frozen=True)
class Upstream:
    """A folder of upstream's: its settings, its weights' file and its small files as they were."""

    config: BagelConfig
    weights: Path
    files: dict[str, bytes] = field(default_factory=dict)


def is_upstream(folder: Path) -> bool:
    return (folder / CODEC).is_file() or (folder / "llm_config.json").is_file()


def read(folder: Path) -> Upstream:
    """Raises ``ModelError`` naming the file that is missing or torn, or the tensor that is not there."""
    weights = next((folder / w for w in WEIGHTS if (folder / w).is_file()), folder / WEIGHTS[0])
    try:
        with safe_open(weights, framework="pt") as file:
            shapes = {k: tuple(file.get_slice(k).get_shape()) for k in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{weights}: missing or torn: {error}") from error
    top, llm, vit = _settings(folder)
    kept = top.get("datagen") or {}
    try:
        config = _sizes(shapes, top, llm, vit)
    except KeyError as error:
        raise ModelError(f"{weights}: tensor {error.args[0]} is missing, so this is not a BAGEL") from error
    if "image_size" not in kept:  # a small random checkpoint may have fewer positions than 1024 px need
        kept = {**kept, "image_size": min(config.image_size, config.max_latent_size * config.pixels_a_token)}
    config = BagelConfig.from_fields({**asdict(config), **kept}, str(folder / "config.json"))
    small = {
        p.name: p.read_bytes()
        for p in folder.iterdir()
        if p.suffix in (".json", ".txt", ".jinja") and p.stat().st_size <= SMALL and "optim" not in p.name
    }
    return Upstream(config, weights, small)


def by_config(folder: Path) -> BagelConfig:
    """Settings from the small files alone, before any weights are there: for arithmetic, not to load with.

    What they do not say, or say wrongly (the positions of an image), is BAGEL-7B's.
    """
    top, llm, vit = _settings(folder)
    vae = top.get("vae_config") or {}
    b = BAGEL_7B
    config = replace(
        b,
        vocab_size=llm.get("vocab_size", b.vocab_size),
        hidden_size=llm.get("hidden_size", b.hidden_size),
        intermediate_size=llm.get("intermediate_size", b.intermediate_size),
        num_layers=llm.get("num_hidden_layers", b.num_layers),
        num_heads=llm.get("num_attention_heads", b.num_heads),
        num_kv_heads=llm.get("num_key_value_heads", b.num_kv_heads),
        latent_patch_size=top.get("latent_patch_size", b.latent_patch_size),
        latent_channels=vae.get("z_channels", b.latent_channels),
        latent_downsample=vae.get("downsample", b.latent_downsample),
        vit_layers=vit["num_hidden_layers"] - 1 if "num_hidden_layers" in vit else b.vit_layers,
        vit_hidden_size=vit.get("hidden_size", b.vit_hidden_size),
        vit_intermediate_size=vit.get("intermediate_size", b.vit_intermediate_size),
        vit_heads=vit.get("num_attention_heads", b.vit_heads),
        vit_patch_size=vit.get("patch_size", b.vit_patch_size),
    )
    return BagelConfig.from_fields(
        {**asdict(config), **(top.get("datagen") or {})}, str(folder / "config.json")
    )


def _settings(folder: Path) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """What the files say of the whole, of the language model and of the tower."""
    top = _json(folder / "config.json")
    llm = {**(top.get("llm_config") or {}), **_json(folder / "llm_config.json", needed=False)}
    vit = {**(top.get("vit_config") or {}), **_json(folder / "vit_config.json", needed=False)}
    return top, llm, vit


def _json(path: Path, needed: bool = True) -> dict[str, Any]:
    if not needed and not path.is_file():
        return {}
    try:
        row = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: not a readable model config: {error}") from error
    if not isinstance(row, dict):
        raise ModelError(f"{path}: not a model config: it is a {type(row).__name__}")
    return row


def _sizes(
    shapes: dict[str, tuple[int, ...]], top: dict[str, Any], llm: dict[str, Any], vit: dict[str, Any]
) -> BagelConfig:
    def layers(prefix: str) -> int:
        inner = (k.removeprefix(prefix).split(".")[0] for k in shapes if k.startswith(prefix))
        return 1 + max((int(i) for i in inner), default=-1)

    first = "language_model.model.layers.0."
    vocabulary, hidden = shapes["language_model.model.embed_tokens.weight"]
    head = shapes[f"{first}self_attn.q_norm.weight"][0]
    patch = int(top.get("latent_patch_size", 2))
    rope = llm.get("rope_parameters") or {}
    config = replace(
        BAGEL_7B,
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=shapes[f"{first}mlp.up_proj.weight"][0],
        num_layers=layers("language_model.model.layers."),
        num_heads=shapes[f"{first}self_attn.q_proj.weight"][0] // head,
        num_kv_heads=shapes[f"{first}self_attn.k_proj.weight"][0] // head,
        rms_norm_eps=float(llm.get("rms_norm_eps", 1e-6)),
        rope_theta=float(llm.get("rope_theta") or rope.get("rope_theta") or 1e6),
        latent_patch_size=patch,
        latent_channels=shapes["vae2llm.weight"][1] // patch**2,
        latent_downsample=int((top.get("vae_config") or {}).get("downsample", 8)),
        max_latent_size=isqrt(shapes["latent_pos_embed.pos_embed"][0]),
        vit_layers=0,
    )
    tower = "vit_model.vision_model."
    if f"{tower}post_layernorm.weight" not in shapes:
        return config
    embedding = shapes[f"{tower}embeddings.patch_embedding.weight"]
    return replace(
        config,
        vit_layers=layers(f"{tower}encoder.layers."),
        vit_hidden_size=embedding[0],
        vit_intermediate_size=shapes[f"{tower}encoder.layers.0.mlp.fc1.weight"][0],
        vit_heads=int(vit.get("num_attention_heads", 16)),
        vit_patch_size=isqrt(embedding[1] // 3) if len(embedding) == 2 else embedding[2],
        vit_side=isqrt(shapes["vit_pos_embed.pos_embed"][0]),
    )


def write(model: "BagelModel", folder: Path) -> None:
    """Upstream's folder with the model's weights, in the dtype they have."""
    c = model.config
    files = dict(model.files) or {
        "llm_config.json": _bytes(llm_config(c)),
        "vit_config.json": _bytes(vit_config(c)),
        "preprocessor_config.json": _bytes(PREPROCESSOR),
        "tokenizer_config.json": _bytes(TOKENIZER),
    }
    top = json.loads(files.get("config.json", b"{}")) or top_config(c)
    top["datagen"] = {name: getattr(c, name) for name in KEPT}
    files["config.json"] = _bytes(top)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    if "vocab.json" not in files:
        model.tokenizer.save(folder)
    state = {k: v.detach().cpu().contiguous() for k, v in model.network.state_dict().items()}
    save_file(state, folder / WEIGHTS[0], metadata={"format": "pt"})
    assert model.codec is not None
    model.codec.save(folder)


def _bytes(row: dict[str, Any]) -> bytes:
    return (json.dumps(row, indent=2) + "\n").encode()


def llm_config(c: BagelConfig) -> dict[str, Any]:
    """What upstream's ``Qwen2Config.from_json_file`` reads."""
    return {
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        "vocab_size": c.vocab_size,
        "hidden_size": c.hidden_size,
        "intermediate_size": c.intermediate_size,
        "num_hidden_layers": c.num_layers,
        "num_attention_heads": c.num_heads,
        "num_key_value_heads": c.num_kv_heads,
        "rms_norm_eps": c.rms_norm_eps,
        "rope_theta": c.rope_theta,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "qk_norm": True,
        "layer_module": "Qwen2MoTDecoderLayer",
        "max_position_embeddings": 32_768,
    }


def vit_config(c: BagelConfig) -> dict[str, Any]:
    """What upstream's ``SiglipVisionConfig.from_json_file`` reads: with the layer its code takes off."""
    return {
        "model_type": "siglip_vision_model",
        "hidden_size": c.vit_hidden_size,
        "intermediate_size": c.vit_intermediate_size,
        "num_hidden_layers": c.vit_layers + 1,
        "num_attention_heads": c.vit_heads,
        "patch_size": c.vit_patch_size,
        "image_size": c.vit_side * c.vit_patch_size,
        "num_channels": 3,
        "hidden_act": "gelu_pytorch_tanh",
        "layer_norm_eps": 1e-6,
    }


def top_config(c: BagelConfig) -> dict[str, Any]:
    return {
        "architectures": ["BagelForConditionalGeneration"],
        "model_type": "bagel",
        "visual_gen": True,
        "visual_und": c.vit_layers > 0,
        "llm_config": llm_config(c),
        "vit_config": vit_config(c),
        "vae_config": {"z_channels": c.latent_channels, "downsample": c.latent_downsample},
        "latent_patch_size": c.latent_patch_size,
        "max_latent_size": c.max_latent_size,
        "vit_max_num_patch_per_side": c.vit_side,
        "connector_act": "gelu_pytorch_tanh",
        "interpolate_pos": False,
        "timestep_shift": c.training_shift or c.timestep_shift,
    }


TOKENIZER = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "eos_token": "<|im_end|>",
    "pad_token": "<|endoftext|>",
}
PREPROCESSOR = {
    "image_processor_type": "SiglipImageProcessor",
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "do_rescale": True,
    "do_resize": True,
    "rescale_factor": 1 / 255,
}
