"""Every model-backed reward on a tiny random model, through its real loading and batching code."""

import dataclasses
import io
import math

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import tiny
from benchmarks.rewards import pictures
from datagen.errors import InputError, ModelError, UnknownName
from datagen.registry import resolve
from datagen.sample import Clause, Sample, Target
from rewards import REWARDS, load_reward
from rewards.base import open_image
from rewards.detectors import GroundingDino, Mask2Former, _boxes

SAMPLES = [
    dataclasses.replace(s, image=i.image)
    for s, i in zip(pictures(3, 2), [*pictures(1, 3), *pictures(1, 3, side=48)], strict=True)
]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """Checkpoint options by name, written once."""
    made = {}

    def get(name: str) -> dict:
        if name not in made:
            made[name] = tiny.TINY[name](tmp_path_factory.mktemp(name.replace("/", "-")))
        return made[name]

    return get


def load(name: str, checkpoints):
    reward = load_reward(name.split("/")[0], checkpoints(name))
    if name.startswith("objects"):  # random confidences: let some objects pass
        limits = dataclasses.replace(reward.detector.thresholds, score=0.05, counting=0.05)
        reward.detector.thresholds = limits
    return reward


@pytest.mark.parametrize("name", tiny.TINY)
def test_a_batch_scores_what_each_picture_scores_alone(name, checkpoints):
    reward = load(name, checkpoints)
    together = reward.score(SAMPLES)
    alone = [reward.score([s])[0] for s in SAMPLES]
    assert len(together) == len(SAMPLES)
    for one, other in zip(together, alone, strict=True):
        assert one.value == pytest.approx(other.value, abs=1e-5)
        assert math.isfinite(one.value)
        assert (one.name, one.reason) == (other.name, other.reason) or name.endswith("vqa")
        assert reward.card.low is None or one.value >= reward.card.low
        assert reward.card.high is None or one.value <= reward.card.high


@pytest.mark.parametrize("name", [n for n in tiny.TINY if n != "trace_vqa"])
def test_what_cannot_be_judged_is_set_aside_and_the_rest_is_judged(name, checkpoints):
    reward = load(name, checkpoints)
    torn = dataclasses.replace(SAMPLES[1], image=SAMPLES[1].image[:80])
    absent = dataclasses.replace(SAMPLES[2], image=None)
    scores = reward.score([SAMPLES[0], torn, absent, SAMPLES[3]])
    assert scores[0].value is not None
    assert scores[1].value is None
    assert "not a readable image" in scores[1].reason
    assert scores[2].value == reward.card.low
    assert scores[2].reason == "no image was opened"
    assert scores[3].value is not None


@pytest.mark.parametrize("name", tiny.TINY)
def test_only_declared_inputs_are_read(name, checkpoints):
    reward = load(name, checkpoints)
    sample = SAMPLES[0]
    other = {
        "prompt": "another prompt",
        "target": Target("single_object", (Clause("dog"),)),
        "trace": "another plan",
    }
    changed = dataclasses.replace(sample, **{k: v for k, v in other.items() if k not in reward.card.inputs})
    assert reward.score([changed])[0].value == pytest.approx(reward.score([sample])[0].value, abs=1e-6)


@pytest.mark.parametrize("name", ["clip", "siglip", "image_reward", "vqa"])
@pytest.mark.timeout(60)
def test_a_prompt_of_a_million_characters_is_cut(name, checkpoints):
    sample = dataclasses.replace(SAMPLES[0], prompt="red cup\x00\u202e " * 100_000, target=Target("prompt"))
    (score,) = load(name, checkpoints).score([sample])
    assert math.isfinite(score.value)
    if name in ("clip", "siglip"):
        assert score.details == {"truncated": True}


def test_every_reward_declares_itself_without_being_loaded():
    fields = {f.name for f in dataclasses.fields(Sample)}
    for name, path in REWARDS.items():
        kind = resolve("reward", path, {})
        assert kind.name == name
        assert kind.card.inputs and set(kind.card.inputs) <= fields
        assert kind.card.scale and kind.card.licence
        assert kind.card.batch_size >= 1
        assert kind.card.memory_gib >= 0


@pytest.mark.parametrize("name", ["clip", "hps", "image_reward", "aesthetic", "nsfw", "objects", "vqa"])
def test_a_checkpoint_that_is_not_there_is_one_line(name, tmp_path):
    options = {"model": f"transformers:{tmp_path}"} if name == "vqa" else {"checkpoint": str(tmp_path)}
    with pytest.raises(ModelError, match=r"cannot be loaded|is missing") as caught:
        load_reward(name, options)
    assert "\n" not in str(caught.value)


def test_hps_is_the_same_network_under_open_clips_names(checkpoints):
    """The file holds open_clip's names and fused projections; the values are those of the plain CLIP."""
    plain, renamed = load("clip", checkpoints), load("hps", checkpoints)
    for a, b in zip(plain.score(SAMPLES), renamed.score(SAMPLES), strict=True):
        assert a.value == pytest.approx(b.value, abs=1e-6)


def test_pickscore_is_the_scaled_cosine(checkpoints):
    scale = float(torch.tensor(2.6592).exp())
    for a, b in zip(
        load("clip", checkpoints).score(SAMPLES), load_reward("pickscore", checkpoints("clip")).score(SAMPLES),
        strict=True,
    ):  # fmt: skip
        assert b.value == pytest.approx(a.value * scale / 26, rel=1e-3)


@pytest.mark.parametrize(
    ("name", "file"), [("hps", "HPS_v2.1_compressed.pt"), ("image_reward", "ImageReward.pt")]
)
def test_a_damaged_or_foreign_file_is_named(name, file, checkpoints, tmp_path):
    import shutil

    options = checkpoints(name)
    folder = tmp_path / "copy"
    shutil.copytree(options["checkpoint"], folder)
    (folder / file).write_bytes(b"not a checkpoint")
    changed = options | {"checkpoint": str(folder)}
    with pytest.raises(ModelError, match="is damaged"):
        load_reward(name, changed)
    torch.save({"weight": torch.zeros(2)}, folder / file)
    with pytest.raises(ModelError, match="is not"):
        load_reward(name, changed)


def test_an_image_classifier_without_an_unsafe_class_is_refused(tmp_path):
    import json

    tiny.nsfw(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config |= {"id2label": {"0": "cat", "1": "dog"}, "label2id": {"cat": 0, "dog": 1}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="labels cat, dog"):
        load_reward("nsfw", {"checkpoint": str(tmp_path)})


def test_masks_and_scores_are_those_of_the_librarys_own_decoding(checkpoints):
    folder = checkpoints("objects")["checkpoint"]
    detector = Mask2Former(folder, None)
    detector.thresholds = dataclasses.replace(detector.thresholds, score=0.05, counting=0.05)
    images = [open_image(s.image) for s in pictures(1, 3, side=64)]
    inputs = detector.processor(images=images, return_tensors="pt")
    with torch.inference_mode():
        outputs = detector.model(pixel_values=inputs["pixel_values"], pixel_mask=inputs["pixel_mask"])
    library = detector.processor.post_process_instance_segmentation(
        outputs, threshold=0.05, target_sizes=[(64, 64)] * 3, return_binary_maps=True
    )
    mine = detector.find(images, [["cup", "dog", "computer mouse"]] * 3)
    for theirs, ours in zip(library, mine, strict=True):
        expected = sorted(s["score"] for s in theirs["segments_info"])
        found = sorted(d.score for some in ours.values() for d in some)
        # The library judges masks at 384 x 384 whatever the network saw, ours at the seen 64 x 64.
        assert found == pytest.approx(expected, abs=0.01)
        assert all(d.mask.shape == (64, 64) for some in ours.values() for d in some)


def test_boxes_of_a_padded_picture_scale_with_its_longer_side():
    """A 60 x 20 picture is padded to 60 x 60: shares of the square, and nothing in the padding."""
    wide = Image.new("RGB", (60, 20))
    boxes = torch.tensor([[0.5, 1 / 6, 0.5, 1 / 3], [0.5, 0.75, 0.2, 0.2], [0.95, 0.3, 0.2, 0.2]])
    scores = torch.tensor([[0.1, 0.8], [0.9, 0.0], [0.6, 0.2]])
    found = _boxes(scores, boxes, ["cup", "dog"], 60, 60, 0.3, wide)
    assert [d.box for d in found["dog"]] == [pytest.approx((15, 0, 45, 20))]
    assert [d.box for d in found["cup"]] == [pytest.approx((51, 12, 60, 20))]


def test_phrases_are_scored_by_their_own_tokens(checkpoints):
    """ "red cup . cup ." : the second phrase never takes the first one's token."""
    detector = GroundingDino(checkpoints("objects/grounding_dino")["checkpoint"], None)
    caption = "red cup . cup ."
    encoded = detector.processor.tokenizer(caption, return_offsets_mapping=True)
    tokens = detector.processor.tokenizer.convert_ids_to_tokens(encoded["input_ids"])
    assert tokens == ["[CLS]", "red", "cup", ".", "cup", ".", "[SEP]"]
    chances = torch.zeros(2, 16)
    chances[0, 2], chances[1, 4] = 0.9, 0.8
    boxes = torch.tensor([[0.25, 0.5, 0.5, 1.0], [0.75, 0.5, 0.5, 1.0]])
    found = detector._one(
        chances, boxes, encoded["offset_mapping"], ["red cup", "cup"], caption, Image.new("RGB", (40, 20))
    )
    assert [d.box for d in found["red cup"]] == [(0, 0, 20, 20)]
    assert [d.box for d in found["cup"]] == [(20, 0, 40, 20)]


@pytest.mark.parametrize(
    ("target", "why"),
    [
        (Target("t", (Clause("unicorn"),)), "the detector knows no 'unicorn'"),
        (Target("t", (Clause("cup", size="small"),)), "size (small cup) is not judged"),
        (Target("t", (Clause("cup", color="teal"),)), "colour 'teal' is not one of red"),
        (Target("t", (Clause("cup"),), (Clause("dog", color="red"),)), "excludes classes, not colours"),
        (Target("t", text=("OPEN",)), "asks for no object"),
    ],
)
def test_what_the_detector_cannot_judge_is_unscored_with_the_reason(target, why, checkpoints):
    reward = load("objects", checkpoints)
    asked, fine = reward.score([dataclasses.replace(SAMPLES[0], target=target), SAMPLES[1]])
    assert asked.value is None
    assert why in asked.reason
    assert fine.value is not None


def test_an_unknown_detector_or_threshold_lists_the_valid_ones(checkpoints):
    with pytest.raises(UnknownName, match=r"valid: grounding_dino, mask2former, owlv2"):
        load_reward("objects", {"detector": "yolo"})
    with pytest.raises(InputError, match="valid: score, counting, overlap"):
        load_reward("objects", {"thresholds": {"scor": 0.5}})


def test_known_colours_are_named_by_the_nearest_text():
    """With embeddings that are known, the named colour is the nearest; crops lie on grey."""
    from rewards.geneval import Detection
    from rewards.objects import ColorNamer, crop

    class Nearest:
        batch_size = 2

        def embed_texts(self, texts):
            order = ["red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white"]
            rows = [order.index(next(c for c in order if f" {c}" in t)) for t in texts]
            return torch.eye(10)[rows], [False] * len(texts)

        def embed_images(self, images):
            rows = [{(0, 0, 255): 4, (255, 0, 0): 0}[i.getpixel((0, 0))] for i in images]
            return torch.eye(10)[rows]

    namer = ColorNamer.__new__(ColorNamer)
    namer.clip, namer.texts = Nearest(), {}
    blue, red = Image.new("RGB", (4, 4), "blue"), Image.new("RGB", (4, 4), "red")
    assert namer.name([("cup", blue), ("dog", red), ("cup", red)]) == ["blue", "red", "red"]
    mask = np.zeros((8, 8), bool)
    mask[2:6, 2:4] = True
    cut = crop(Image.new("RGB", (8, 8), "red"), Detection((2.0, 2.0, 6.0, 6.0), 0.9, mask))
    assert cut.size == (4, 4)
    assert cut.getpixel((0, 0)) == (255, 0, 0)
    assert cut.getpixel((3, 0)) == (153, 153, 153)
    assert crop(blue, Detection((9.0, 9.0, 9.2, 9.2), 0.9)).size == (1, 1)


def test_out_of_the_card_scales_are_told_apart():
    assert REWARDS.keys() >= {"clip", "pickscore", "hps", "image_reward", "aesthetic"}
    for name in ("clip", "pickscore", "hps", "image_reward", "aesthetic"):
        assert not resolve("reward", name, REWARDS).card.unit
    for name in ("vqa", "objects", "text", "nsfw", "hygiene", "siglip"):
        assert resolve("reward", name, REWARDS).card.unit


def test_png_of_a_palette_goes_through_a_model(checkpoints):
    out = io.BytesIO()
    Image.new("P", (32, 32), 3).save(out, "PNG")
    (score,) = load("clip", checkpoints).score([dataclasses.replace(SAMPLES[0], image=out.getvalue())])
    assert -1 <= score.value <= 1


@pytest.mark.parametrize("name", ["aesthetic", "pickscore", "siglip", "clip", "image_reward", "hps"])
def test_sixteen_bits_of_the_towers_do_not_round_the_score(name, checkpoints, monkeypatch):
    full = [s.value for s in load(name, checkpoints).score(SAMPLES)]
    for module in ("pretrained", "clip", "aesthetic", "image_reward", "hps"):
        monkeypatch.setattr(f"rewards.{module}.precision", lambda device: torch.bfloat16)
    reward = load(name, checkpoints)
    model = getattr(reward, "model", None) or reward.net
    assert {p.dtype for p in model.parameters()} >= {torch.bfloat16}
    exact = {n for n, p in model.named_parameters() if p.dtype == torch.float32}
    heads = {"aesthetic": "layers.", "image_reward": "mlp.", "hps": "-"}.get(name, "logit_")
    assert all(n.startswith(heads) for n in exact) and (exact or name == "hps")
    values = [s.value for s in reward.score(SAMPLES)]
    assert values == pytest.approx(full, rel=0.05, abs=0.02)
    assert any(v != float(torch.tensor(v).bfloat16()) for v in values)


def test_hps_sees_all_of_a_picture_that_is_not_square(checkpoints):
    reward = load("hps", checkpoints)
    wide = np.zeros((32, 64, 3), np.uint8)
    wide[:, :16] = 255  # at the edge, which a crop to the middle would lose
    plain, marked = reward.embed_images([Image.fromarray(np.zeros_like(wide)), Image.fromarray(wide)])
    assert float((plain - marked).abs().max()) > 1e-3
