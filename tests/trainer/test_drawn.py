"""Training on what the model itself drew: no encoder runs, and codes are those that were generated."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from datagen.candidates import generate_candidates
from datagen.dataset import load_weighted, save_dataset
from datagen.models.latent import pack, unpack
from datagen.recipe import load_recipe
from datagen.sample import Sample, Target
from tests.datagen.models.test_upstream import build
from tests.datagen.models.test_vq import janus
from trainer import TrainConfig, train
from trainer import trainer as module
from trainer.latents import Latents, numbered

PROMPT = Sample("a red circle", Target("single_object"), group_id="g")
BUILD = {"bagel": build, "janus": janus}


def drawn(model, folder, **changes):
    """A dataset of three pictures that the model drew, and what it drew."""
    plain = load_recipe("counting")
    recipe = plain.model_copy(
        update={"trace": "none", "candidates": plain.candidates.model_copy(update={"k": 3})}
    )
    made = generate_candidates([PROMPT], model, recipe)
    save_dataset(
        [replace(s, text_weight=1.0, image_weight=1.0, **changes) for s in made], folder, "card", latents=True
    )
    return made


def counted(model, monkeypatch):
    asked, encode = [], type(model).encode_image
    monkeypatch.setattr(
        type(model), "encode_image", lambda self, pixels: (asked.append(1), encode(self, pixels))[1]
    )
    return asked


@pytest.mark.parametrize("family", BUILD)
def test_a_model_trains_on_what_it_drew_without_its_encoder(family, tmp_path, monkeypatch):
    model = BUILD[family]()
    made = drawn(model, tmp_path / "d")
    asked = counted(model, monkeypatch)
    monkeypatch.setattr(module, "load_model", lambda *a: model)
    train(TrainConfig(tmp_path / "d", tmp_path / "m", "tiny", steps=2, batch_size=2, bf16=False))
    assert not asked
    kept = np.load(tmp_path / "m" / "trainer" / "latents.npy")
    for row, sample in zip(kept, made, strict=True):
        assert torch.equal(
            torch.from_numpy(row), unpack(sample.latent, model.codec_id, torch.from_numpy(row))
        )


@pytest.mark.parametrize("changes", [{"latent": None}, {"latent": pack(torch.zeros(4, 16, 16), "another")}])
def test_a_row_without_a_latent_of_this_codec_is_encoded(changes, tmp_path, monkeypatch):
    model = build()
    drawn(model, tmp_path / "d", **changes)
    asked = counted(model, monkeypatch)
    rows, latents = load_weighted(tmp_path / "d"), Latents(tmp_path)
    latents.make(rows, model, lambda *a: None)
    assert len(asked) == 3
    for row, plain in zip(numbered(rows), rows, strict=True):
        assert "latent" not in row
        assert torch.equal(latents(row), model.represent(plain["image"]))


def test_other_latents_of_the_same_pictures_are_taken_anew(tmp_path):
    model = build()
    made = drawn(model, tmp_path / "d")
    latents = Latents(tmp_path)
    latents.make(load_weighted(tmp_path / "d"), model, lambda *a: None)
    moved = pack(torch.ones(4, 16, 16), model.codec_id)
    save_dataset([replace(s, latent=moved) for s in made], tmp_path / "e", "card", latents=True)
    latents.make(load_weighted(tmp_path / "e"), model, lambda *a: None)
    assert latents.rows.min() == latents.rows.max() == 1
