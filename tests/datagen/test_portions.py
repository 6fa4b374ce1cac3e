"""Accounts of parts add up to the account of all."""

import json
from dataclasses import replace

import pytest

from datagen.account import Account
from datagen.portions import account_row, add_row
from datagen.sample import Clause, Sample, Score, Target

TARGET = Target("counting", (Clause("circle", 2),))


def samples(recipe, first):
    kinds = [
        {"reward": 1.0, "text_weight": 2.0, "trace_source": "model", "model": "m", "transition": "model"},
        {"reward": 0.25, "image_weight": 0.5, "dropped": "near_duplicate of x", "llm": "l"},
        {"dropped": "unscored", "scores": (Score("judge", None, "broke"),)},
    ]
    return [
        replace(
            Sample("p", TARGET, group_id=f"{recipe}{first + i}", recipe=recipe, weakness="w"), **kinds[i % 3]
        )
        for i in range(5)
    ]


def test_parts_add_up_to_the_whole_through_json(small):
    recipes = [small("counting"), small("position")]
    parts = [samples("counting", 0), samples("position", 0), samples("counting", 5), []]
    whole, sum_ = Account.of([s for part in parts for s in part], recipes), Account(recipes)
    for part in parts:
        add_row(sum_, json.loads(json.dumps(account_row(Account.of(part, recipes)))))
    for name, row in whole.table().items():
        for key, value in row.items():
            found = sum_.table()[name][key]
            assert found == (pytest.approx(value) if isinstance(value, float) else value), key
    for name in ("sources", "models", "llms", "unscored", "candidates", "kept", "dropped"):
        assert getattr(sum_, name) == getattr(whole, name)
    assert whole.unscored == "judge: broke"
    assert sum_.lines["counting"].groups == whole.lines["counting"].groups
