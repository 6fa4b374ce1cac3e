"""Gates, scales within a group, weights and floors, and what None does to them."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datagen.combine import combined, imitable, scaled
from datagen.errors import InputError, RecipeError, RewardError
from datagen.recipe import Rewards, load_recipe
from datagen.sample import Sample, Score, Target
from datagen.scores import check_rewards, score_candidates
from datagen.weights import weigh
from rewards import load_reward, load_rewards, parse_options
from rewards.base import Card


def sample(group="g", **scores: float | None) -> Sample:
    made = tuple(Score(name, value) for name, value in scores.items())
    return Sample("p", Target("t"), id=str(scores), group_id=group, scores=made, image=b"x", trace="t")


def rewards(**fields) -> Rewards:
    return Rewards.model_validate({"image": {"a": 1.0}, "text": {"t": 1.0}} | fields)


def test_without_gates_and_scales_the_reward_is_the_weighted_mean():
    settings = rewards(image={"a": 3.0, "b": 1.0, "unused": 0.0})
    assert combined([sample(a=1.0, b=0.0)], settings, "image") == [0.75]
    assert combined([sample(a=1.0, b=None)], settings, "image") == [None]
    assert combined([sample(a=1.0, b=1.0, unused=None)], settings, "image") == [1.0]


def test_a_failed_gate_decides_and_an_unscored_one_does_not():
    settings = rewards(gates={"image": {"g": 0.5, "h": 0.5}})
    group = [
        sample(a=0.9, g=0.5, h=1.0),
        sample(a=0.9, g=0.4, h=1.0),
        sample(a=None, g=0.0, h=None),  # wrong, whatever else could not be told
        sample(a=0.9, g=None, h=1.0),
        sample(a=None, g=1.0, h=1.0),
    ]
    assert combined(group, settings, "image") == [0.9, 0.0, 0.0, None, None]


def test_gates_of_one_modality_leave_the_other_alone():
    settings = rewards(gates={"image": {"g": 0.5}})
    assert combined([sample(t=0.7, g=0.0)], settings, "text") == [0.7]


def test_ranks_are_within_the_group_and_among_those_that_passed():
    settings = rewards(gates={"image": {"g": 0.5}}, scale={"image": "rank"})
    group = [sample(a=20.0, g=1.0), sample(a=24.0, g=0.0), sample(a=22.0, g=1.0), sample(a=20.0, g=1.0)]
    assert combined(group, settings, "image") == pytest.approx([1 / 3, 0.0, 5 / 6, 1 / 3])


def test_a_group_that_is_all_wrong_has_no_winner():
    settings = rewards(gates={"image": {"g": 0.5}}, scale={"image": "zscore"})
    assert combined([sample(a=0.1, g=0.0), sample(a=0.9, g=0.2)], settings, "image") == [0.0, 0.0]


def test_no_judges_scale_decides():
    """A judge on 0 to 1000 weighs no more than one on 0 to 1: unlike in a raw mean."""
    group = [sample(a=0.0, b=900.0), sample(a=1.0, b=100.0), sample(a=0.5, b=500.0)]
    for scale in ("rank", "zscore"):
        low, high, middle = combined(
            group, rewards(image={"a": 1.0, "b": 1.0}, scale={"image": scale}), "image"
        )
        assert low == pytest.approx(high) == pytest.approx(middle) == pytest.approx(0.5)


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=9),
    st.sampled_from(["rank", "zscore"]),
    st.floats(0.01, 100),
    st.floats(-1e3, 1e3),
)
def test_scaled_scores_lie_in_the_unit_interval_keep_order_and_ignore_units(values, scale, factor, shift):
    found = scaled(values, scale)
    assert all(0 <= f <= 1 for f in found)
    for i, a in enumerate(values):
        for j, b in enumerate(values):
            assert not (a < b and found[i] > found[j] + 1e-12)
    if scale == "rank" and len({v * factor + shift for v in values}) == len(set(values)):
        assert scaled([v * factor + shift for v in values], scale) == pytest.approx(found)


def test_equal_scores_are_in_the_middle():
    assert scaled([3.0, 3.0, 3.0], "zscore") == scaled([3.0, 3.0, 3.0], "rank") == [0.5, 0.5, 0.5]
    assert scaled([7.0], "rank") == [0.5]


def test_what_misses_a_floor_weighs_nothing_and_stays_in_the_mean(small):
    settings = rewards(floors={"image": {"pretty": 4.5}})
    recipe = small().model_copy(update={"rewards": settings})
    group = [
        sample(a=1.0, t=1.0, pretty=5.0),
        sample(a=1.0, t=1.0, pretty=4.0),
        sample(a=1.0, t=1.0, pretty=6.0),
    ]
    assert [imitable(s, settings, "image") for s in group] == [True, False, True]
    done = weigh(group, recipe)
    assert [s.image_weight for s in done] == pytest.approx([1.5, 0.0, 1.5])
    assert [s.text_weight for s in done] == pytest.approx([1.0, 1.0, 1.0])
    assert [s.advantage for s in done] == [0.0, 0.0, 0.0]
    assert combined([sample(a=1.0, pretty=None)], settings, "image") == [None]


def write(tmp_path, block: str):
    path = tmp_path / "mine.yaml"
    rewards = f"rewards:\n{block}  text: {{trace: 1.0}}\n"
    path.write_text(f"name: mine\nweakness: counting\ntargets: {{sampler: counting}}\n{rewards}")
    return path


def test_a_recipe_declares_gates_floors_scales_and_options(tmp_path):
    block = (
        "  image: {scenes: 1.0}\n  gates: {image: {hygiene: 1}}\n  floors: {image: {follows: 0.5}}\n"
        "  scale: {image: rank}\n  options: {hygiene: {limits: {edges: [0, 0.9]}}}\n"
    )
    recipe = load_recipe(write(tmp_path, block))
    assert recipe.reward_names == ["follows", "hygiene", "scenes", "trace"]
    assert recipe.rewards.gates == {"image": {"hygiene": 1.0}}
    loaded = load_rewards(recipe.reward_names, recipe.rewards.options, {})
    assert loaded["hygiene"].limits["edges"] == (0.0, 0.9)


@pytest.mark.parametrize(
    ("block", "says"),
    [
        ("  gates: {picture: {scenes: 1}}\n", "Input should be 'image' or 'text'"),
        ("  scale: {image: ranks}\n", "Input should be 'raw', 'zscore' or 'rank'"),
        ("  gate: {}\n", "unknown field 'rewards.gate'; valid: image, text, gates, floors, scale, options"),
        ("  options: {vqa: {model: x}}\n", "options for 'vqa', which is not among scenes, trace"),
        ("  gates: {image: {scenes: .nan}}\n", "finite number"),
    ],
)
def test_a_typo_in_the_rewards_block_is_one_line(tmp_path, block, says):
    with pytest.raises(RecipeError) as caught:
        load_recipe(write(tmp_path, "  image: {scenes: 1.0}\n" + block))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


class Fixed:
    heldout = False

    def __init__(self, name, values, card=None):
        self.name, self.values = name, values
        if card is not None:
            self.card = card

    def score(self, samples):
        return [Score(self.name, v) for v in self.values]


UNBOUNDED = Card(("image",), "z-score", "MIT", None, None)


def test_unlike_scales_are_not_averaged_raw(small):
    recipe = small().model_copy(update={"rewards": rewards()})
    loaded = {"a": Fixed("a", [], UNBOUNDED), "t": Fixed("t", [])}
    with pytest.raises(
        InputError, match=r"'a' is not on a scale of 0 to 1 \(z-score\); set rewards.scale.image"
    ):
        check_rewards(loaded, recipe)
    check_rewards(loaded, recipe.model_copy(update={"rewards": rewards(scale={"image": "rank"})}))


def test_a_held_out_judge_may_not_even_gate(small):
    recipe = small().model_copy(update={"rewards": rewards(gates={"image": {"judge": 1.0}})})
    loaded = {"a": Fixed("a", []), "t": Fixed("t", []), "judge": load_reward("judge")}
    with pytest.raises(InputError, match="'judge' is held out"):
        check_rewards(loaded, recipe)


def test_groups_are_compared_each_by_itself(small):
    recipe = small().model_copy(update={"rewards": rewards(scale={"image": "rank"})})
    samples = [dataclasses.replace(sample(), group_id=g) for g in ("one", "two", "one", "two")]
    loaded = {"a": Fixed("a", [1.0, 100.0, 2.0, 50.0]), "t": Fixed("t", [1.0] * 4)}
    assert [s.reward for s in score_candidates(samples, loaded, recipe)] == [0.25, 0.75, 0.75, 0.25]


def bright(samples):
    return [Score("bright", 0.25) for _ in samples]


class Bright:
    def __init__(self, level: float = 0.5) -> None:
        self.level = level

    def score(self, samples):
        return [Score("bright", self.level) for _ in samples]


ready = Bright(0.75)
broken = object()


def nan(samples):
    return [Score("nan", float("nan")) for _ in samples]


@pytest.fixture
def mine(monkeypatch):
    """This module under a name that a recipe can write."""
    import sys

    monkeypatch.setitem(sys.modules, "mine", sys.modules[__name__])


def test_a_users_function_class_or_object_is_a_reward(mine, small):
    one = sample()
    assert load_reward("mine:bright").score([one])[0].value == 0.25
    assert load_reward("mine:Bright", {"level": 0.9}).score([one])[0].value == 0.9
    assert load_reward("mine:ready").score([one])[0].value == 0.75
    recipe = small().model_copy(
        update={
            "rewards": Rewards(
                image={"mine:Bright": 1.0}, text={"mine:bright": 1.0}, options={"mine:Bright": {"level": 0.9}}
            )
        }
    )
    loaded = load_rewards(recipe.reward_names, recipe.rewards.options, {})
    check_rewards(loaded, recipe)
    (scored,) = score_candidates([one], loaded, recipe)
    assert scored.reward == 0.9
    assert [s.name for s in scored.scores] == ["mine:Bright", "mine:bright"]


def test_a_users_reward_that_is_none_says_why(mine, small):
    with pytest.raises(InputError, match="has no score"):
        load_reward("mine:broken")
    with pytest.raises(InputError, match=r"options: got an unexpected keyword argument 'lvl'; valid: level"):
        load_reward("mine:Bright", {"lvl": 1})
    with pytest.raises(InputError, match="is no class, so it takes no options"):
        load_reward("mine:bright", {"level": 1})
    recipe = small().model_copy(
        update={"rewards": Rewards(image={"mine:nan": 1.0}, text={"mine:bright": 1.0})}
    )
    loaded = load_rewards(recipe.reward_names, {}, {})
    with pytest.raises(RewardError, match="'mine:nan' gave nan for sample the-sample"):
        score_candidates([dataclasses.replace(sample(), id="the-sample")], loaded, recipe)


def test_rewards_are_loaded_once_for_each_set_of_options(mine):
    loaded = {}
    first = load_rewards(["mine:Bright"], {"mine:Bright": {"level": 0.1}}, loaded)
    again = load_rewards(["mine:Bright"], {"mine:Bright": {"level": 0.1}}, loaded)
    other = load_rewards(["mine:Bright"], {}, loaded)
    assert first["mine:Bright"] is again["mine:Bright"] is not other["mine:Bright"]


def test_options_on_the_command_line():
    given = ["vqa.aggregate=mean", "objects.thresholds={score: 0.4}", "a:B.level=2"]
    assert parse_options(given, ["vqa", "objects", "a:B"]) == {
        "vqa": {"aggregate": "mean"},
        "objects": {"thresholds": {"score": 0.4}},
        "a:B": {"level": 2},
    }
    for wrong, says in (
        ("vqa", "write REWARD.FIELD=VALUE"),
        ("clip.x=1", "not among vqa"),
        ("vqa.x=[", "not YAML"),
    ):
        with pytest.raises(InputError, match=says):
            parse_options([wrong], ["vqa"])
