"""A dataset and a tiny BAGEL to train."""

import pytest
import torch

from datagen import pipeline


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    from datagen.recipe import load_recipe

    run = tmp_path_factory.mktemp("data")
    recipe = load_recipe("counting")
    recipe = recipe.model_copy(update={"prompts": recipe.prompts.model_copy(update={"count": 8})})
    pipeline.build(run, [recipe], "fake")
    return run / "dataset"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A tiny random BAGEL on disk."""
    from datagen.models.bagel import BagelModel
    from datagen.models.bagel.config import BagelConfig
    from datagen.models.bagel.model import Bagel
    from datagen.models.bagel.tokenizer import train_tokenizer

    torch.manual_seed(0)
    tokenizer = train_tokenizer(["red circle top left ; two blue stars"] * 20, 300)
    config = BagelConfig(
        vocab_size=300, hidden_size=24, intermediate_size=32, num_layers=1, num_heads=2, num_kv_heads=2
    )
    folder = tmp_path_factory.mktemp("tiny")
    BagelModel(Bagel(config), tokenizer).save(str(folder))
    return str(folder)
