"""Recipes: every shipped one loads, and a typo is one line with the choices."""

import pytest
import yaml

from datagen.errors import RecipeError, UnknownName
from datagen.recipe import list_recipes, load_recipe
from rewards import load_reward


@pytest.mark.parametrize("name", list_recipes())
def test_every_shipped_recipe_loads_and_names_real_rewards(name):
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.description
    assert all(not load_reward(r).heldout for r in recipe.reward_names)
    assert yaml.safe_load(recipe.to_yaml())["name"] == name


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("candidates:", "candidate:", "unknown field 'candidate'; valid: name"),
        ("floor:", "flor:", "unknown field 'weights.flor'; valid: temperature, floor, max"),
        ("sampler: counting", "sampler: countng", "targets.sampler: unknown 'countng'; valid: broad"),
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
    path.write_text(text.replace(old, new))
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
