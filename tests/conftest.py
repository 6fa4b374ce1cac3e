"""Shared helpers: one thread a process, and small recipes."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # two pytest processes share the cores; threads would fight
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
os.environ["DATAGEN_CACHE"] = "off"  # what a user's own runs cached must not answer for the tests

import pytest


@pytest.fixture(scope="module")
def ray_pool():
    """One Ray for the file, which ``ray_session`` joins; never another's that happens to run."""
    import ray

    ray.init(
        "local", num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False
    )  # fmt: skip
    yield
    ray.shutdown()


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


@pytest.fixture(scope="session")
def weighted_dataset(tmp_path_factory):
    """A small weighted dataset, built with the model that costs nothing."""
    from datagen import pipeline
    from datagen.recipe import load_recipe

    run = tmp_path_factory.mktemp("weighted")
    recipe = load_recipe("counting")
    prompts = recipe.prompts.model_copy(update={"count": 3})
    pipeline.build(run, [recipe.model_copy(update={"prompts": prompts})], "fake")
    return run / "dataset"
