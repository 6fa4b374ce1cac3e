"""Recipes: every shipped one loads, and a typo is one line with the choices."""

import pytest
import yaml

from datagen.errors import RecipeError, UnknownName
from datagen.recipe import list_recipes, load_recipe, parse_recipe
from datagen.registry import resolve
from datagen.sample import Clause, Sample, Target
from datagen.suites import evaluation_of
from rewards import REWARDS


@pytest.mark.parametrize("name", list_recipes())
def test_every_shipped_recipe_loads_and_names_real_rewards_in_every_vocabulary(name):
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.description
    for vocabulary in recipe.vocabularies:
        one = recipe.for_vocabulary(vocabulary)
        assert all(not resolve("reward", r, REWARDS).heldout for r in one.reward_names)
        assert one.prompts.examples
        assert one.targets.params.keys() >= recipe.targets.params.keys()
        assert parse_recipe(yaml.safe_load(one.to_yaml()), "dumped") == one
    assert parse_recipe(yaml.safe_load(recipe.to_yaml()), "dumped").to_yaml() == recipe.to_yaml()


def test_the_recipes_of_the_issue_ship_and_only_three_leave_the_pocket_model_out():
    shipped = {name: load_recipe(name) for name in list_recipes()}
    assert set(shipped) == {
        "single_object", "two_objects", "counting", "colors", "position", "color_attribution", "text_rendering",
        "world_knowledge", "dense", "orientation", "structure", "negation", "style", "broad", "benchmark_aligned",
    }  # fmt: skip
    assert all(r.serves("coco") for r in shipped.values())
    assert {n for n, r in shipped.items() if not r.serves("scenes")} == {"orientation", "structure", "style"}


@pytest.mark.parametrize("name", list_recipes())
def test_no_few_shot_example_of_a_photograph_is_worded_like_the_benchmark(name):
    evaluation = evaluation_of("coco")
    for example in load_recipe(name).for_vocabulary("coco").prompts.examples:
        assert evaluation.overlap(Sample(example, Target("", (Clause("no such thing"),)))) == ("", ""), (
            example
        )


def test_a_variant_changes_what_it_says_and_nothing_else():
    recipe = load_recipe("counting")
    scenes, coco = recipe.for_vocabulary("scenes"), recipe.for_vocabulary("coco")
    assert (scenes.candidates.cfg, coco.candidates.cfg) == (1.0, None)
    assert scenes.candidates.k == coco.candidates.k == 8
    assert coco.weights.temperature == scenes.weights.temperature == 0.2
    assert coco.rewards.gates["image"] == {"objects": 1.0, "hygiene": 1.0}
    assert coco.dedupe.prompts == 0.97 and coco.dedupe.crowd == 0.02
    assert list(coco.vocabularies) == ["coco"]


def test_the_temperature_of_traces_is_the_models_unless_a_recipe_says_one():
    recipe = load_recipe("counting")
    assert recipe.candidates.temperature is None
    row = recipe.model_dump(exclude={"vocabularies"})
    row["candidates"]["temperature"] = 0.7
    assert parse_recipe(row, "here").candidates.temperature == 0.7


def test_a_recipe_refuses_a_vocabulary_it_does_not_serve():
    with pytest.raises(RecipeError, match=r"'orientation' serves the vocabulary coco, not 'scenes'"):
        load_recipe("orientation").for_vocabulary("scenes")


def test_a_recipe_without_vocabularies_serves_any():
    row = {"name": "mine", "weakness": "w", "targets": {"sampler": "colors"}}
    assert parse_recipe(row, "mine").for_vocabulary("coco").rewards.image == {"scenes": 1.0}


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("candidates:", "candidate:", "unknown field 'candidate'; valid: name"),
        ("max: 4.0", "mx: 4.0", "unknown field 'weights.mx'; valid: temperature, floor, max"),
        (
            "floor:",
            "flor:",
            "unknown field 'vocabularies.scenes.weights.flor'; valid: temperature, floor, max",
        ),
        ("cfg:", "k:", "unknown field 'vocabularies.coco.candidates.k'; valid: cfg, steps, temperature"),
        (
            "sampler: counting",
            "sampler: countng",
            "targets.sampler: unknown 'countng'; valid: benchmark_aligned, broad",
        ),
        ("{min: 2", "{mim: 2", "targets.params: unknown parameter 'mim'; valid: min, max, colored"),
        ("{min: 2", "{min: few", "targets.params.min: Input should be a valid integer"),
        ("max: 6", "max: 60", "targets.params: min 2 and max 60 must lie within 1..6"),
        ("  coco:", "  imagenet:", "vocabularies: unknown 'imagenet'; valid: scenes, coco"),
        ("temperature: 0.2", "temperature: 0", "weights.temperature"),
        ("temperature: 0.2", "temperature: warm", "weights.temperature"),
        ("trace: self", "trace: myself", "trace: Input should be 'self'"),
        ("scenes: 1.0", "scenes: -1.0", "rewards: Value error, image needs"),
        ("weakness: counting", "weakness: [", "not valid YAML"),
        ("weakness: counting", "weakness: counting\nname: other", "field 'name' is given twice"),
        ("weakness: counting", "weakness: " + "[" * 5000, "nested too deeply"),
        ("scenes: 1.0", "scenes: .nan", "rewards.image.scenes: Input should be a finite number"),
        ("temperature: 0.2", "temperature: .inf", "weights.temperature: Input should be a finite number"),
    ],
)
def test_a_typo_names_file_field_and_choices(tmp_path, old, new, says):
    text = list_recipes()["counting"].read_text()
    assert old in text
    path = tmp_path / "mine.yaml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(RecipeError, match=r"mine\.yaml") as caught:
        load_recipe(path)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_recipe_lists_the_valid_ones():
    with pytest.raises(UnknownName, match=r"did you mean 'counting'.*position"):
        load_recipe("countng")


@pytest.mark.parametrize("content", [b"", b"just words", b"\xff\xfe\x00", b"- a\n- b\n", b"a: \x00"])
def test_a_file_that_is_no_recipe_is_refused(tmp_path, content):
    path = tmp_path / "x.yaml"
    path.write_bytes(content)
    with pytest.raises(RecipeError, match=r"x\.yaml") as caught:
        load_recipe(path)
    assert "\n" not in str(caught.value)
