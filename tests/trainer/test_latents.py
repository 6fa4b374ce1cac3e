"""Pictures are encoded once, whatever is trained, and training on them is training on the pictures."""

import io

import pytest
import torch
from datasets import Dataset, Features, Image, Value
from PIL import Image as Pictures

from tests.datagen.models.test_packing import EXAMPLES, tiny
from trainer.latents import Latents, numbered


class Counting:
    """A model whose encoder counts what it is asked."""

    def __init__(self, name="counting", encode=lambda x: x):
        self.model, self.count, self.name, self.encode = tiny(), 0, name, encode

    def represent(self, image):
        self.count += 1
        return self.encode(self.model.represent(image))


def dataset(images):
    return Dataset.from_dict(
        {"image": [image and {"bytes": image, "path": None} for image in images], "prompt": list("abcde")},
        features=Features({"image": Image(), "prompt": Value("string")}),
    )


def png(picture) -> bytes:
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()


GREY = png(Pictures.radial_gradient("L").convert("RGB"))


@pytest.fixture
def rows():
    return dataset([GREY, GREY, None, GREY, GREY])


def make(folder, rows, model):
    """How many pictures were encoded, but for the one that the key holds."""
    latents, before = Latents(folder), model.count
    latents.make(rows, model, lambda *a: None)
    return latents, model.count - before - 1


def test_each_picture_is_encoded_once_and_found_again(rows, tmp_path):
    model = Counting()
    assert make(tmp_path, rows, model)[1] == 4
    again, made = make(tmp_path, rows, model)
    assert made == 0
    for row, plain in zip(numbered(rows), rows, strict=True):
        assert not isinstance(row["image"], Pictures.Image)
        if row["image"] is not None:
            assert torch.equal(again(row), model.model.represent(plain["image"]))
        else:
            assert not again(row).any()


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "another"},
        {"encode": lambda x: x[:, :24, :24]},  # another image size
        {"encode": lambda x: x.half()},
        {"encode": lambda x: 2 * x},  # another encoder behind the same name
    ],
    ids=["name", "shape", "dtype", "encoder"],
)
def test_another_model_never_gets_the_latents_of_this_one(rows, tmp_path, changes):
    other = Counting(**changes)
    make(tmp_path, rows, Counting())
    latents, made = make(tmp_path, rows, other)
    assert made == 4
    want = other.represent(rows[0]["image"])
    assert torch.equal(latents({"place": 0}), want) and latents({"place": 0}).dtype == want.dtype


def test_other_pictures_under_the_same_prompts_are_encoded_anew(rows, tmp_path):
    model = Counting()
    make(tmp_path, rows, model)
    red = png(Pictures.new("RGB", (48, 48), "red"))
    assert make(tmp_path, dataset([GREY, red, None, GREY, GREY]), model)[1] == 4
    assert make(tmp_path, dataset([GREY, None, red, GREY, GREY]), model)[1] == 4


def test_a_torn_note_is_not_believed(rows, tmp_path):
    make(tmp_path, rows, Counting())
    (tmp_path / "latents.json").write_text("{")
    assert make(tmp_path, rows, Counting())[1] == 4


def test_a_batch_of_latents_is_the_batch_of_their_pictures():
    import dataclasses

    model = tiny()
    encoded = [
        e if e.image is None else dataclasses.replace(e, image=model.represent(e.image)) for e in EXAMPLES
    ]
    one, other = model.collate(EXAMPLES), model.collate(encoded)
    assert all(torch.equal(a, b) for a, b in zip(vars(one).values(), vars(other).values(), strict=True))


def test_a_model_with_an_autoencoder_trains_on_what_was_encoded_before(tmp_path, monkeypatch):
    """Two epochs, yet every picture goes through the encoder once."""
    from datagen import pipeline
    from datagen.models.bagel import BagelModel
    from datagen.recipe import load_recipe
    from trainer import TrainConfig, train
    from trainer import trainer as module

    recipe = load_recipe("counting")
    recipe = recipe.model_copy(update={"prompts": recipe.prompts.model_copy(update={"count": 3})})
    pipeline.build(tmp_path / "run", [recipe], "fake")
    model, asked = tiny(), []
    encode = BagelModel.encode_image
    monkeypatch.setattr(BagelModel, "encodes", True)
    monkeypatch.setattr(BagelModel, "encode_image", lambda self, x: (asked.append(1), encode(self, x))[1])
    monkeypatch.setattr(module, "load_model", lambda *a: model)
    done = train(TrainConfig(tmp_path / "run" / "dataset", tmp_path / "m", "tiny", epochs=2, bf16=False))
    assert len(asked) == done.samples + 1  # one more is in the key
