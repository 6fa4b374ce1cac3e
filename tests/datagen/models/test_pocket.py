"""The pocket model as it ships."""

import io

import pytest

from datagen.models import load_model
from datagen.models.bagel import WEIGHTS
from datagen.models.base import GenerationConfig
from datagen.sample import Sample
from datagen.suites import scenes_suite
from rewards import load_reward


@pytest.fixture(scope="module")
def pocket():
    return load_model("pocket")


def test_the_weights_are_small_safetensors_with_a_card():
    assert (WEIGHTS / "model.safetensors").stat().st_size <= 20e6
    assert not [p for p in WEIGHTS.iterdir() if p.suffix in (".pt", ".bin", ".pkl")]
    card = (WEIGHTS / "README.md").read_text()
    for part in ("Data", "Steps", "Hardware", "Scores", "weaknesses"):
        assert part in card


def test_it_has_five_to_ten_million_parameters(pocket):
    assert 5e6 < sum(p.numel() for p in pocket.module.parameters()) < 10e6


def test_before_post_training_it_does_not_open_an_image_by_itself(pocket):
    prompts = [s.prompt for s in scenes_suite(8)]
    made = pocket.generate(prompts, list(range(len(prompts))), GenerationConfig())
    assert sum(m.transition == "model" for m in made) <= 1


def test_forced_to_open_it_draws_what_simple_prompts_ask_for(pocket):
    suite = [s for s in scenes_suite(24) if s.target.tag == "colors"]
    made = pocket.generate([s.prompt for s in suite], list(range(len(suite))), GenerationConfig(force=True))
    samples = []
    for s, m in zip(suite, made, strict=True):
        out = io.BytesIO()
        m.image.save(out, "PNG")
        samples.append(Sample(s.prompt, s.target, image=out.getvalue()))
    right = sum(score.value == 1.0 for score in load_reward("judge").score(samples))
    assert right >= len(suite) / 2
