"""The card: what a reader needs, for a person."""

from dataclasses import replace

import yaml

from datagen.account import Account
from datagen.card import dataset_card
from datagen.checks import judges_of
from datagen.recipe import load_recipe
from datagen.sample import Clause, Sample, Score, Target
from datagen.weakness import Weakness

WEAK = Weakness("counting", "counting", 60, 60, 0.5, 0.4, 0.6, 0.9, 0.4, 1.0, 0.4, 1.0, "counting")
PROMPTS = {"counting": {"attempts": 9, "kept": 1, "rejected": {"cut off": 8}, "self_similarity": 0.1}}
RECIPE = load_recipe("counting").for_vocabulary("scenes")
SAMPLE = Sample(
    "three circles", Target("counting", (Clause("circle", 3),)), "a", "g", "counting", "counting", "a trace", "self",
    scores=(Score("scenes", 1.0), Score("trace", 0.35)), reward=1.0, text_weight=1.0, image_weight=1.0,
    model="pocket", llm="template",
)  # fmt: skip
WRONG = replace(SAMPLE, reward=0.0, text_weight=0.0, image_weight=0.0)
COPY = replace(SAMPLE, dropped="near_duplicate of a")


def front_matter(card: str) -> dict:
    return yaml.safe_load(card.split("---")[1])


def test_the_card_says_what_a_reader_needs():
    settings = {"model": "pocket", "seed": 7, "recipes": {"counting": RECIPE.model_dump(mode="json")}}
    account = Account.of([SAMPLE, WRONG, COPY], [RECIPE])
    card = dataset_card(account, settings, [WEAK], PROMPTS, judges_of([RECIPE]))
    for said in (
        "| counting | 60 | 50.0 | 40.0 to 60.0 | 90.0 | counting |",  # the weakness
        '"floor": 0.99',  # the recipe as resolved
        "| counting | 9 | 1 | cut off 8 | 3 | near_duplicate 1 | 2 |",  # counts by stage and reason
        "| counting | counting | 1 | 3 | 2 | 66.7% | 2 | 2 | near_duplicate 1 |",  # ESS
        "- candidates: `pocket` (Apache-2.0",
        "- prompts: `template` (no model)",
        "- reward: `scenes` (Apache-2.0, rules)",
        "- reward: `trace` (Apache-2.0, rules)",
        "- command: `",
        "- seed: 7",
        "- versions: python 3.",
        "## Limitations",
    ):
        assert said in card
    assert front_matter(card)["size_categories"] == ["n<1K"]


def test_rewards_of_images_and_of_texts_are_counted_side_by_side():
    card = dataset_card(Account.of([SAMPLE, WRONG, COPY], [RECIPE]), {})
    assert "counting: image 3 scored, 0 not; text 3 scored, 0 not" in card
    assert "  0.3 to 0.4        0                             3 ████████████████████" in card
    assert "  0.9 to 1.0        2 ████████████████████        0" in card


def test_text_rewards_are_compared_within_their_group():
    rewards = RECIPE.rewards.model_copy(update={"scale": {"text": "rank"}})
    ranked = RECIPE.model_copy(update={"rewards": rewards})
    better = replace(SAMPLE, scores=(Score("scenes", 1.0), Score("trace", 0.4)))
    found = Account.of([SAMPLE, better], [ranked]).table()["counting"]["text_rewards"]
    assert [b for b, n in enumerate(found) if n] == [2, 7]


def test_the_licence_is_free_only_where_all_that_made_the_data_is():
    def licence(**changes):
        return front_matter(dataset_card(Account.of([replace(SAMPLE, **changes)]), {}))["license"]

    assert licence() == licence(model="bagel?batch=8", llm="smollm2") == "apache-2.0"
    assert licence(model="janus") == licence(llm="openai:somebody's@http://host") == "other"
