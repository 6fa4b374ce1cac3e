"""Shared helpers: one thread a process, and small recipes."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")

import pytest


@pytest.fixture
def small():
    """A shipped recipe cut down to a few prompts and candidates."""
    from datagen.recipe import load_recipe

    def make(name: str = "counting", prompts: int = 6, k: int = 4, **changes):
        recipe = load_recipe(name)
        return recipe.model_copy(
            update={
                "prompts": recipe.prompts.model_copy(update={"count": prompts}),
                "candidates": recipe.candidates.model_copy(update={"k": k}),
                **changes,
            }
        )

    return make
