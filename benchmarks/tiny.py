"""Tiny random checkpoints of every architecture that a reward loads, made from config classes.

No network, a few hundred kilobytes each: they go through the rewards' real loading and batching code in
the tests and in ``benchmarks.rewards``. Their answers mean nothing. ``TINY`` is the table: reward name
to the function that writes its checkpoint in a folder and returns the options that load it.
"""

import json
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

WORDS = [
    "a",
    "an",
    "the",
    "photo",
    "of",
    "is",
    "are",
    "there",
    "how",
    "many",
    "in",
    "image",
    "to",
    "left",
    "right",
    "above",
    "below",
    "color",
    "object",
    "red",
    "orange",
    "yellow",
    "green",
    "blue",
    "purple",
    "pink",
    "brown",
    "black",
    "white",
    "cup",
    "cat",
    "dog",
    "bench",
    "yes",
    "no",
    "Yes",
    "No",
    "one",
    "two",
    "three",
    "1",
    "2",
    "3",
    "answer",
    "with",
    "or",
    "number",
    "does",
    "show",
    "this",
    "text",
]
SIDE, PATCH = 32, 8


def _seed() -> None:
    torch.manual_seed(0)


def clip_tokenizer(folder: Path) -> int:
    """A byte-level CLIP tokenizer without merges; returns the id of its last token."""
    from transformers import CLIPTokenizer

    letters = string.ascii_lowercase + string.digits + string.punctuation
    names = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{c}</w>" for c in letters)]
    vocab = {n: i for i, n in enumerate(dict.fromkeys(names))}
    CLIPTokenizer(vocab=vocab, merges=[], model_max_length=77).save_pretrained(folder)
    return len(vocab) - 1


def bert_tokenizer(folder: Path) -> int:
    from transformers import BertTokenizer

    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "?", *(w.lower() for w in WORDS)]
    names += [*string.ascii_lowercase, *(f"##{c}" for c in string.ascii_lowercase)]
    vocab = {n: i for i, n in enumerate(dict.fromkeys(names))}
    BertTokenizer(vocab=vocab).save_pretrained(folder)
    return len(vocab)


def _tower(**more: Any) -> dict[str, Any]:
    return {
        "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2, **more,
    }  # fmt: skip


def _clip_config() -> Any:
    from transformers import CLIPConfig

    return CLIPConfig(
        text_config=_tower(vocab_size=160, max_position_embeddings=77, bos_token_id=0, eos_token_id=1),
        vision_config=_tower(image_size=SIDE, patch_size=PATCH),
        projection_dim=16,
    )


def _clip_processor(folder: Path) -> None:
    from transformers import CLIPImageProcessor, CLIPProcessor, CLIPTokenizer

    clip_tokenizer(folder)
    images = CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    CLIPProcessor(images, CLIPTokenizer.from_pretrained(folder)).save_pretrained(folder)


def clip(folder: Path) -> dict[str, Any]:
    from transformers import CLIPModel

    _seed()
    CLIPModel(_clip_config()).save_pretrained(folder)
    _clip_processor(folder)
    return {"checkpoint": str(folder)}


def siglip(folder: Path) -> dict[str, Any]:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import (
        PreTrainedTokenizerFast,
        SiglipConfig,
        SiglipImageProcessor,
        SiglipModel,
        SiglipProcessor,
    )

    _seed()
    config = SiglipConfig(
        text_config=_tower(vocab_size=128, max_position_embeddings=64, projection_size=32),
        vision_config=_tower(image_size=SIDE, patch_size=PATCH),
    )
    SiglipModel(config).save_pretrained(folder)
    raw = Tokenizer(
        models.WordLevel({w: i for i, w in enumerate(["<pad>", "<unk>", *WORDS])}, unk_token="<unk>")
    )
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<pad>", unk_token="<unk>")
    images = SiglipImageProcessor(size={"height": SIDE, "width": SIDE})
    SiglipProcessor(images, tokenizer).save_pretrained(folder)
    return {"checkpoint": str(folder)}


def to_open_clip(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """transformers' CLIP tensors under open_clip's names, q, k and v fused: what HPSv2's file holds."""
    renames = {
        "vision_model.embeddings.class_embedding": "visual.class_embedding",
        "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
        "vision_model.embeddings.patch_embedding.": "visual.conv1.",
        "vision_model.pre_layrnorm.": "visual.ln_pre.",
        "vision_model.post_layernorm.": "visual.ln_post.",
        "vision_model.encoder.layers.": "visual.transformer.resblocks.",
        "text_model.embeddings.token_embedding.": "token_embedding.",
        "text_model.embeddings.position_embedding.weight": "positional_embedding",
        "text_model.encoder.layers.": "transformer.resblocks.",
        "text_model.final_layer_norm.": "ln_final.",
        ".layer_norm1.": ".ln_1.", ".layer_norm2.": ".ln_2.", ".self_attn.out_proj.": ".attn.out_proj.",
        ".mlp.fc1.": ".mlp.c_fc.", ".mlp.fc2.": ".mlp.c_proj.",
    }  # fmt: skip
    out: dict[str, torch.Tensor] = {}
    for key, value in state.items():
        if "q_proj" in key:
            parts = [state[key.replace("q_proj", f"{p}_proj")] for p in "qkv"]
            name, value = key.replace(".self_attn.q_proj.", ".attn.in_proj_"), torch.cat(parts)
        elif "k_proj" in key or "v_proj" in key or "position_ids" in key:
            continue
        elif key in ("text_projection.weight", "visual_projection.weight"):
            name = "text_projection" if key.startswith("text") else "visual.proj"
            value = value.T.contiguous()
        else:
            name = key
        for old, new in renames.items():
            name = name.replace(old, new)
        out[name] = value
    return out


def hps(folder: Path) -> dict[str, Any]:
    from transformers import CLIPModel

    _seed()
    model = CLIPModel(_clip_config())
    model.config.save_pretrained(folder)
    _clip_processor(folder)
    torch.save({"state_dict": to_open_clip(model.state_dict())}, folder / "HPS_v2.1_compressed.pt")
    return {"checkpoint": str(folder), "base": str(folder)}


IMAGE_REWARD_SIZES: dict[str, Any] = {
    "text": _tower(vocab_size=160, encoder_hidden_size=32, max_position_embeddings=40),
    "vision": _tower(image_size=SIDE, patch_size=PATCH, layer_norm_eps=1e-6),
    "head": (16, 12, 8, 4, 1),
}


def image_reward(folder: Path) -> dict[str, Any]:
    from rewards.image_reward import ImageRewardNet

    _seed()
    renames = {
        "text.": "blip.text_encoder.", "vision.embeddings.class_embedding": "blip.visual_encoder.cls_token",
        "vision.embeddings.position_embedding": "blip.visual_encoder.pos_embed",
        "vision.embeddings.patch_embedding.": "blip.visual_encoder.patch_embed.proj.",
        "vision.encoder.layers.": "blip.visual_encoder.blocks.", "vision.post_layernorm.": "blip.visual_encoder.norm.",
    }  # fmt: skip
    inner = {
        ".layer_norm1.": ".norm1.", ".layer_norm2.": ".norm2.", ".self_attn.qkv.": ".attn.qkv.",
        ".self_attn.projection.": ".attn.proj.",
    }  # fmt: skip
    state = {"blip.itm_head.weight": torch.zeros(2, 4)}  # a part that the score does not use
    for key, value in ImageRewardNet(IMAGE_REWARD_SIZES).state_dict().items():
        for old, new in renames.items():
            if key.startswith(old):
                key = new + key[len(old) :]
                break
        if key.startswith("blip.visual_encoder."):
            for old, new in inner.items():
                key = key.replace(old, new)
        state[key] = value
    torch.save(state, folder / "ImageReward.pt")
    bert_tokenizer(folder)
    return {"checkpoint": str(folder), "tokenizer": str(folder), "sizes": IMAGE_REWARD_SIZES}


def aesthetic(folder: Path) -> dict[str, Any]:
    from transformers import CLIPImageProcessor, CLIPVisionConfig

    from rewards.aesthetic import predictor_class

    _seed()
    config = CLIPVisionConfig(**_tower(image_size=SIDE, patch_size=PATCH, projection_dim=16))
    predictor_class()(config).save_pretrained(folder)
    CLIPImageProcessor(
        size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}
    ).save_pretrained(folder)
    return {"checkpoint": str(folder)}


def nsfw(folder: Path) -> dict[str, Any]:
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    _seed()
    labels = {0: "normal", 1: "nsfw"}
    config = ViTConfig(
        **_tower(image_size=SIDE, patch_size=PATCH),
        id2label=labels,
        label2id={v: k for k, v in labels.items()},
    )
    ViTForImageClassification(config).save_pretrained(folder)
    ViTImageProcessor(size={"height": SIDE, "width": SIDE}).save_pretrained(folder)
    return {"checkpoint": str(folder)}


def mask2former(folder: Path) -> dict[str, Any]:
    from transformers import (
        Mask2FormerConfig,
        Mask2FormerForUniversalSegmentation,
        Mask2FormerImageProcessor,
        SwinConfig,
    )

    _seed()
    labels = {0: "cup", 1: "dog", 2: "mouse"}
    backbone = SwinConfig(
        image_size=64, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 1, 1], window_size=4,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = Mask2FormerConfig(
        backbone_config=backbone, hidden_dim=32, feature_size=32, mask_feature_size=32, num_queries=6,
        encoder_layers=1, decoder_layers=2, num_attention_heads=2, dim_feedforward=16, encoder_feedforward_dim=16,
        num_labels=3, id2label=labels, label2id={v: k for k, v in labels.items()},
    )  # fmt: skip
    Mask2FormerForUniversalSegmentation(config).save_pretrained(folder)
    Mask2FormerImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
    return {"checkpoint": str(folder)}


def grounding_dino(folder: Path) -> dict[str, Any]:
    from transformers import (
        BertTokenizer,
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
        GroundingDinoImageProcessor,
        GroundingDinoProcessor,
        SwinConfig,
    )

    _seed()
    size = bert_tokenizer(folder)
    backbone = SwinConfig(
        image_size=64, embed_dim=8, depths=[1, 1, 1], num_heads=[1, 1, 1], window_size=4,
        out_features=["stage1", "stage2", "stage3"],
    )  # fmt: skip
    config = GroundingDinoConfig(
        backbone_config=backbone,
        text_config=_tower(model_type="bert", vocab_size=size, max_position_embeddings=128),
        num_queries=10, d_model=32, encoder_layers=1, decoder_layers=2, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, max_text_len=64, num_feature_levels=3,
    )  # fmt: skip
    GroundingDinoForObjectDetection(config).save_pretrained(folder)
    images = GroundingDinoImageProcessor(size={"shortest_edge": 64, "longest_edge": 96})
    GroundingDinoProcessor(images, BertTokenizer.from_pretrained(folder)).save_pretrained(folder)
    return {"checkpoint": str(folder)}


def owlv2(folder: Path) -> dict[str, Any]:
    from transformers import (
        CLIPTokenizer,
        Owlv2Config,
        Owlv2ForObjectDetection,
        Owlv2ImageProcessor,
        Owlv2Processor,
    )

    _seed()
    clip_tokenizer(folder)
    config = Owlv2Config(
        text_config=_tower(
            vocab_size=160, max_position_embeddings=16, pad_token_id=1, bos_token_id=0, eos_token_id=1
        ),
        vision_config=_tower(image_size=SIDE, patch_size=PATCH),
        projection_dim=32,
    )
    model = Owlv2ForObjectDetection(config)
    for parameter in model.parameters():  # its own scheme saturates at this width: every score would be 0
        if parameter.dim() > 1:
            torch.nn.init.xavier_normal_(parameter)
    model.save_pretrained(folder)
    tokenizer = CLIPTokenizer.from_pretrained(folder, model_max_length=16)
    images = Owlv2ImageProcessor(size={"height": SIDE, "width": SIDE})
    Owlv2Processor(images, tokenizer).save_pretrained(folder)
    return {"checkpoint": str(folder)}


_CHAT = (
    "{% for m in messages %}<user>{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<image>{% else %}{{ c['text'] }}{% endif %}{% endfor %}<end>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def vlm(folder: Path) -> str:
    """A LLaVA: a CLIP tower, a projector and a Llama. Returns the name that ``load_vlm`` takes."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import (
        CLIPImageProcessor,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
        PreTrainedTokenizerFast,
    )

    _seed()
    special = ["<pad>", "<s>", "</s>", "<image>", "<user>", "<end>", "<assistant>"]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("y", "e"), ("ye", "s"), ("n", "o")]  # "yes" and "no" are one token, "Yes" is several
    names = [*special, *letters, *("".join(m) for m in merges)]
    raw = Tokenizer(models.BPE(vocab={n: i for i, n in enumerate(names)}, merges=merges))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, bos_token="<s>", eos_token="</s>", pad_token="<pad>",
        additional_special_tokens=special[3:],
    )  # fmt: skip
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**_tower(image_size=SIDE, patch_size=PATCH)),
        text_config=LlamaConfig(**_tower(vocab_size=len(names), num_key_value_heads=2, max_position_embeddings=4096)),
        image_token_index=3, vision_feature_layer=-1,
    )  # fmt: skip
    LlavaForConditionalGeneration(config).save_pretrained(folder)
    images = CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    processor = LlavaProcessor(
        images, tokenizer, patch_size=PATCH, vision_feature_select_strategy="default",
        num_additional_image_tokens=1, chat_template=_CHAT,
    )  # fmt: skip
    processor.save_pretrained(folder)
    if not (folder / "chat_template.jinja").exists():  # where AutoProcessor looks for it
        (folder / "chat_template.json").write_text(json.dumps({"chat_template": _CHAT}))
    return f"transformers:{folder}"


_QWEN_CHAT = (
    "{% for m in messages %}<|im_start|>user\n{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ c['text'] }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


class QwenProcessor:
    """Qwen3-VL's processor without its video half, which needs torchvision to be built at all."""

    chat_template = _QWEN_CHAT

    def __init__(self, tokenizer: Any, image_processor: Any) -> None:
        self.tokenizer, self.image_processor = tokenizer, image_processor

    def apply_chat_template(self, chat: Any, **options: Any) -> str:
        return self.tokenizer.apply_chat_template(chat, chat_template=_QWEN_CHAT, **options)

    def __call__(self, text: list[str], images: list[Any] | None = None, return_tensors: str = "pt") -> Any:
        more: dict[str, Any] = {}
        if images:
            more = dict(self.image_processor(images=images, return_tensors=return_tensors))
            counts = (more["image_grid_thw"].prod(-1) // self.image_processor.merge_size**2).tolist()
            text = [
                t.replace("<|image_pad|>", "<|image_pad|>" * n) for t, n in zip(text, counts, strict=True)
            ]
        encoded = self.tokenizer(text, return_tensors=return_tensors)
        if images:
            pad = self.tokenizer.convert_tokens_to_ids("<|image_pad|>")
            more["mm_token_type_ids"] = (encoded["input_ids"] == pad).long()
        encoded.update(more)
        return encoded


def qwen() -> tuple[Any, Any]:
    """A Qwen3-VL with its three-dimensional positions, and a processor; nothing is written."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import (
        PreTrainedTokenizerFast,
        Qwen2VLImageProcessor,
        Qwen3VLConfig,
        Qwen3VLForConditionalGeneration,
    )

    _seed()
    special = ["<pad>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>",
               "<|video_pad|>"]  # fmt: skip
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("y", "e"), ("ye", "s"), ("n", "o")]
    names = [*special, *letters, *("".join(m) for m in merges)]
    raw = Tokenizer(models.BPE(vocab={n: i for i, n in enumerate(names)}, merges=merges))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<pad>", eos_token="<|im_end|>", additional_special_tokens=special[1:]
    )
    config = Qwen3VLConfig(
        text_config=_tower(
            vocab_size=len(names), num_key_value_heads=2, head_dim=16, max_position_embeddings=4096,
            rope_parameters={"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [4, 2, 2],
                             "mrope_interleaved": True},
        ),
        vision_config={
            "depth": 2, "hidden_size": 32, "intermediate_size": 48, "num_heads": 2, "patch_size": PATCH,
            "spatial_merge_size": 2, "temporal_patch_size": 2, "out_hidden_size": 32, "num_position_embeddings": 16,
            "deepstack_visual_indexes": [0],
        },
        image_token_id=special.index("<|image_pad|>"), video_token_id=special.index("<|video_pad|>"),
        vision_start_token_id=special.index("<|vision_start|>"), vision_end_token_id=special.index("<|vision_end|>"),
    )  # fmt: skip
    images = Qwen2VLImageProcessor(
        patch_size=PATCH,
        merge_size=2,
        temporal_patch_size=2,
        size={"shortest_edge": 256, "longest_edge": 4096},
    )
    return QwenProcessor(tokenizer, images), Qwen3VLForConditionalGeneration(config).eval()


def _vqa(folder: Path) -> dict[str, Any]:
    return {"model": vlm(folder)}


def _objects(kind: str) -> Callable[[Path], dict[str, Any]]:
    def make(folder: Path) -> dict[str, Any]:
        parts = {"mask2former": mask2former, "grounding_dino": grounding_dino, "owlv2": owlv2}
        (folder / "detector").mkdir()
        (folder / "colors").mkdir()
        found = parts[kind](folder / "detector")
        return {**found, "detector": kind, "color_checkpoint": clip(folder / "colors")["checkpoint"]}

    return make


TINY: dict[str, Callable[[Path], dict[str, Any]]] = {
    "clip": clip,
    "siglip": siglip,
    "pickscore": clip,
    "hps": hps,
    "image_reward": image_reward,
    "aesthetic": aesthetic,
    "nsfw": nsfw,
    "objects": _objects("mask2former"),
    "objects/grounding_dino": _objects("grounding_dino"),
    "objects/owlv2": _objects("owlv2"),
    "vqa": _vqa,
    "trace_vqa": _vqa,
    "follows_vqa": _vqa,
}
