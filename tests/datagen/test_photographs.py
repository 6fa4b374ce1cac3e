"""One recipe, two kinds of model: builds for photographs, and what the pocket model refuses."""

import json
import sys
import types

import pytest
import torch
import yaml
from PIL import Image

from datagen import pipeline
from datagen.dataset import load_weighted
from datagen.errors import InputError, RecipeError
from datagen.llm.base import Reply
from datagen.llm.template import TemplateLLM
from datagen.models.base import UnifiedSample
from datagen.prompt_file import PromptFile
from datagen.prompts import write_prompts
from datagen.recipe import Rewards, list_recipes, load_recipe, parse_recipe
from datagen.sample import Score, Target
from datagen.suites import is_geneval_prompt
from datagen.targets import VOCABULARIES
from datagen.traces import write_traces


class Camera:
    """A model of photographs: noise in the size of a thumbnail, and a trace that repeats the prompt."""

    name = "camera"

    def generate(self, prompts, seeds, config, traces=None):
        return [
            UnifiedSample(
                p, traces[i] if traces else f"Plan: {p}", torch.zeros(0), self.draw(seed), None, "model"
            )
            for i, (p, seed) in enumerate(zip(prompts, seeds, strict=True))
        ]

    def draw(self, seed):
        pixels = torch.randint(
            0, 256, (16, 16, 3), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8
        )
        return Image.fromarray(pixels.numpy())


class Guessing:
    """A judge of any target, by the picture's bytes."""

    name, heldout = "guessing", False

    def score(self, samples):
        return [
            Score(self.name, None if s.image is None else 0.5 + (s.image[-20] % 50) / 100) for s in samples
        ]


@pytest.fixture
def camera(monkeypatch):
    module = types.ModuleType("studio")
    module.load, module.Guessing = lambda name, device="cpu", **options: Camera(), Guessing
    monkeypatch.setitem(sys.modules, "studio", module)
    return "studio:load"


def guessed(recipe):
    """The recipe for photographs with a judge that needs no weights."""
    rewards = Rewards(image={"studio:Guessing": 1.0}, text={"studio:Guessing": 1.0})
    variant = recipe.vocabularies["coco"].model_copy(update={"rewards": rewards})
    return recipe.model_copy(update={"vocabularies": {**recipe.vocabularies, "coco": variant}})


@pytest.mark.parametrize(
    "name", ["counting", "text_rendering", "world_knowledge", "orientation", "style", "dense"]
)
def test_a_recipe_builds_for_a_model_of_photographs(tmp_path, small, camera, name):
    done = pipeline.build(tmp_path, [guessed(small(name, prompts=6, k=2))], camera)
    rows = load_weighted(tmp_path / "dataset")
    assert done.kept == len(rows) > 0
    assert not any(is_geneval_prompt(p) for p in rows["prompt"])
    targets = [Target.from_dict(json.loads(t)) for t in rows["target"]]
    assert all(t.text if name == "text_rendering" else t.include for t in targets)
    settled = parse_recipe(yaml.safe_load((tmp_path / "recipes" / f"{name}.yaml").read_text()), "run")
    assert list(settled.vocabularies) == ["coco"]
    assert settled.reward_names == ["studio:Guessing"]


@pytest.mark.parametrize("name", [n for n in list_recipes() if load_recipe(n).serves("scenes")])
def test_the_same_recipe_builds_for_the_model_of_scenes(tmp_path, small, name):
    done = pipeline.build(tmp_path, [small(name, prompts=3, k=2)], "fake")
    assert done.candidates == 6
    assert done.prompts[name]["kept"] == 3


@pytest.mark.parametrize("name", ["orientation", "structure", "style"])
def test_what_shapes_cannot_show_is_refused_in_one_line_before_anything_is_written(tmp_path, small, name):
    with pytest.raises(
        RecipeError,
        match=rf"'{name}' serves models that know the vocabulary coco; model 'pocket' knows scenes",
    ):
        pipeline.build(tmp_path / "run", [small(name)], "pocket")
    assert not (tmp_path / "run").exists()


def test_a_judge_of_scenes_is_refused_for_photographs(tmp_path, camera):
    recipe = parse_recipe({"name": "mine", "weakness": "w", "targets": {"sampler": "colors"}}, "mine")
    with pytest.raises(
        RecipeError, match=r"reward 'scenes' judges drawn scenes.*vocabularies\.coco\.rewards"
    ):
        pipeline.build(tmp_path / "run", [recipe], camera)


def test_prompts_of_a_file_are_kept_out_and_listed_with_the_nearest_that_stayed(tmp_path, small):
    recipe = small("colors", prompts=20, k=1)
    first = pipeline.build(tmp_path / "a", [recipe], "fake")
    wrote = PromptFile(tmp_path / "a" / "prompts.jsonl").read("colors", 0, 20)
    benchmark = tmp_path / "benchmark.jsonl"
    benchmark.write_text("".join(json.dumps({"prompt": s.prompt}) + "\n" for s in wrote[:4]))
    second = pipeline.build(tmp_path / "b", [recipe], "fake", against=[benchmark])
    assert first.prompts["colors"]["contaminated"] == {}
    assert sum(second.prompts["colors"]["contaminated"].values()) >= 4
    again = PromptFile(tmp_path / "b" / "prompts.jsonl")
    assert not {s.target.key for s in wrote[:4]} & {s.target.key for s in again.read("colors", 0, 20)}
    dropped = [d for d in again.reports["colors"]["dropped"] if "evaluation" in d["reason"]]
    assert {d["like"] for d in dropped} <= {s.prompt for s in wrote[:4]}
    assert all(d["survivor"] for d in dropped)


def test_a_run_begun_against_one_file_is_not_resumed_against_another(tmp_path, small):
    one, other = tmp_path / "one.txt", tmp_path / "other.txt"
    one.write_text("a purple dragon\n")
    other.write_text("a green dragon\n")
    pipeline.build(tmp_path / "run", [small("colors", k=1)], "fake", against=[one])
    with pytest.raises(InputError, match="against"):
        pipeline.build(tmp_path / "run", [small("colors", k=1)], "fake", against=[other])


def test_preview_shows_a_recipe_as_the_model_knows_it(small, camera, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    samples = pipeline.preview([guessed(small("structure", k=1))], camera, "template", 2)
    assert len(samples) == 2
    assert all(s.target.include[0].state for s in samples)
    assert list(tmp_path.iterdir()) == []


def test_a_template_trace_of_a_photograph_works_the_hints_out(small):
    recipe = small("world_knowledge").for_vocabulary("coco")
    samples = write_prompts(recipe, VOCABULARIES["coco"], TemplateLLM(), 12, 0).samples
    for sample, trace in zip(samples, write_traces(samples, "template", TemplateLLM()), strict=True):
        clause = sample.target.include[0]
        assert VOCABULARIES["coco"].plural(clause.cls) in trace.text or clause.cls in trace.text
        assert not clause.color or clause.color in trace.text
        assert not any(hint in trace.text for hint in sample.target.facts)


def test_a_trace_from_an_llm_is_kept_only_if_it_says_the_whole_plan(small):
    class Half:
        name = "half"

        def write(self, requests):
            return [
                Reply(f"First, {r.phrase} Then stop." if i % 2 else "A nice day.")
                for i, r in enumerate(requests)
            ]

    recipe = small("style").for_vocabulary("coco")
    samples = write_prompts(recipe, VOCABULARIES["coco"], TemplateLLM(), 4, 0).samples
    plans = write_traces(samples, "template", TemplateLLM())
    written = write_traces(samples, "llm", Half())
    assert written[::2] == plans[::2]
    assert all(t.text.startswith("First, The picture shows") and t.source == "llm" for t in written[1::2])
