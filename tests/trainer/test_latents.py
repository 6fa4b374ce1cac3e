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

    def __init__(self):
        self.model, self.count = tiny(), 0

    def represent(self, image):
        self.count += 1
        return self.model.represent(image)


@pytest.fixture
def rows():
    out = io.BytesIO()
    Pictures.radial_gradient("L").convert("RGB").save(out, "PNG")
    images = [{"bytes": out.getvalue(), "path": None} if i != 2 else None for i in range(5)]
    return Dataset.from_dict(
        {"image": images, "prompt": list("abcde")},
        features=Features({"image": Image(), "prompt": Value("string")}),
    )


def test_each_picture_is_encoded_once_and_found_again(rows, tmp_path):
    model = Counting()
    latents = Latents(tmp_path, "data")
    latents.make(rows, model, lambda *a: None)
    made = model.count
    again = Latents(tmp_path, "data")
    again.make(rows, model, lambda *a: None)
    assert model.count == made
    for row, plain in zip(numbered(rows), rows, strict=True):
        assert not isinstance(row["image"], Pictures.Image)
        if row["image"] is not None:
            assert torch.equal(again(row), model.model.represent(plain["image"]))
        else:
            assert not again(row).any()


def test_other_data_and_a_torn_note_are_encoded_anew(rows, tmp_path):
    model = Counting()
    Latents(tmp_path, "data").make(rows, model, lambda *a: None)
    made = model.count
    Latents(tmp_path, "other").make(rows, model, lambda *a: None)
    assert model.count == 2 * made
    (tmp_path / "latents.json").write_text("{")
    Latents(tmp_path, "other").make(rows, model, lambda *a: None)
    assert model.count == 3 * made


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
    assert len(asked) == done.samples + 1  # one more tells the shape
