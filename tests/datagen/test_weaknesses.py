"""Statistics, weaknesses and comparisons."""

import numpy as np
import pytest

from datagen.budget import responses
from datagen.compare import compare, transition_rate, unpaired
from datagen.errors import InputError, ResultsError
from datagen.evals import EvalRow
from datagen.statistics import below, clustered, from_total, holm, paired_bootstrap
from datagen.weaknesses import find_weaknesses, read_weaknesses, write_weaknesses


def rows(**categories: list[float]) -> list[EvalRow]:
    """One prompt an entry: its share of four right images."""
    return [
        EvalRow(f"{i:05d}", f"{c} {i}", c, float(k < round(4 * share)), k, "expected x>=1, found 0")
        for c, shares in categories.items()
        for i, share in enumerate(shares)
        for k in range(4)
    ]


def test_the_clustered_interval_covers_what_the_naive_one_misses():
    rng = np.random.default_rng(0)
    truth, hit, naive = 0.6, 0, 0
    for _ in range(400):
        p = rng.beta(truth, 1 - truth, 60)  # intra-prompt correlation 0.5
        groups = rng.binomial(4, p)
        scores = [[1.0] * g + [0.0] * (4 - g) for g in groups]
        e = clustered(scores)
        hit += e.low <= truth <= e.high
        half = 1.96 * (e.mean * (1 - e.mean) / 240) ** 0.5
        naive += e.mean - half <= truth <= e.mean + half
    assert 0.92 <= hit / 400 <= 0.98
    assert naive / 400 < 0.9


def test_all_right_and_all_wrong_still_have_width():
    assert 0 < clustered([[1.0] * 4] * 10).low < 1
    assert clustered([[1.0] * 4] * 10).high == 1.0
    assert 0 < clustered([[0.0] * 4] * 10).high < 1


def test_a_bare_total_is_wider_than_its_binomial():
    e = from_total(0.75, 320)
    assert e.high - e.low > 2 * 1.96 * (0.75 * 0.25 / 320) ** 0.5 * 1.4


def test_probability_and_shortfall_agree_with_simulation():
    e = clustered([[1.0, 0.0, 1.0, 1.0]] * 10 + [[0.0] * 4] * 5)
    draws = np.random.default_rng(0).beta(e.a, e.b, 200_000)
    p, shortfall = below(e, 0.6)
    assert p == pytest.approx((draws < 0.6).mean(), abs=0.01)
    assert shortfall == pytest.approx(np.maximum(0.6 - draws, 0).mean(), abs=0.002)


def test_holm_is_the_textbook_example():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


def test_the_weakest_category_is_first_and_the_budget_sums_to_one():
    found = find_weaknesses(rows(a=[0.25] * 20, b=[0.5] * 20, c=[1.0] * 20), recipes={"a": "ra"})
    assert [w.category for w in found] == ["a", "b", "c"]
    assert sum(w.budget for w in found) == pytest.approx(1.0)
    assert found[0].budget > found[1].budget > found[2].budget == 0
    assert (found[0].recipe, found[1].recipe) == ("ra", None)
    assert found[0].examples[0].startswith("a 0 (expected")


def test_the_budget_has_a_floor_and_a_cap():
    found = find_weaknesses(rows(a=[0.0] * 30, b=[0.85, 0.9, 1, 0.75] * 8, c=[1.0] * 30), target=0.95)
    shares = {w.category: w.budget for w in found}
    assert shares["a"] <= 0.6 + 1e-9
    assert all(s == 0 or s >= 0.05 - 1e-9 for s in shares.values())
    assert sum(shares.values()) == pytest.approx(1.0)


def test_a_benchmark_has_one_vote_however_many_categories_it_has():
    many = rows(a=[0.25] * 20, b=[0.25] * 20, c=[0.25] * 20)
    alone = [r._replace(category="d", benchmark="other") for r in rows(a=[0.25] * 20)]
    shares = {w.category: w.budget for w in find_weaknesses([*many, *alone], target=0.9)}
    assert shares["d"] == pytest.approx(0.5, abs=0.01)
    assert shares["a"] == pytest.approx(1 / 6, abs=0.01)


def test_budget_follows_what_a_prompt_of_each_recipe_moved():
    scored = rows(a=[0.5] * 20, b=[0.5] * 20)
    recipes = {"a": "ra", "b": "rb"}
    plain = {w.category: w.budget for w in find_weaknesses(scored, 0.9, recipes)}
    assert plain["a"] == pytest.approx(plain["b"])
    moved = responses(compare(scored, rows(a=[1.0] * 20, b=[0.5] * 20)), recipes, {"ra": 10, "rb": 10})
    assert moved["ra"] > 0.04 and moved["rb"] < 0.01
    found = {w.category: w.budget for w in find_weaknesses(scored, 0.9, recipes, responses=moved)}
    assert found["a"] == pytest.approx(0.6) and found["b"] == pytest.approx(0.4)  # the cap
    dear = responses(compare(scored, rows(a=[1.0] * 20, b=[0.5] * 20)), recipes, {"ra": 20, "rb": 10})
    assert dear["ra"] == pytest.approx(moved["ra"] / 2)


def test_a_loss_on_few_prompts_does_not_rule_a_recipe_out():
    before = rows(a=[0.5, 0.75, 0.25, 0.5, 1.0, 0.0])
    after = rows(a=[0.25, 0.75, 0.5, 0.25, 0.75, 0.0])
    assert 0 < responses(compare(before, after), {"a": "ra"}, {"ra": 1})["ra"] < 0.1
    assert responses(compare(before, after), {"a": "ra"}, {"other": 5}) == {}


def test_unscored_rows_change_nothing():
    scored = rows(a=[0.5] * 10, b=[1.0] * 10)
    unscored = [EvalRow("99999", "p", "a", None)]
    assert find_weaknesses(scored + unscored) == find_weaknesses(scored)
    with pytest.raises(ResultsError, match="no row was scored"):
        find_weaknesses(unscored)


def test_a_target_outside_the_unit_interval_is_refused():
    with pytest.raises(InputError, match="target"):
        find_weaknesses(rows(a=[1.0]), target=90)


def test_weaknesses_survive_their_file_and_a_bad_file_is_named(tmp_path):
    found = find_weaknesses(rows(a=[0.5] * 10, b=[1.0] * 10))
    path = tmp_path / "weaknesses.json"
    write_weaknesses(path, found)
    assert read_weaknesses(path) == found
    path.write_text("{")
    with pytest.raises(InputError, match=r"weaknesses\.json"):
        read_weaknesses(path)


def test_totals_carry_a_note_that_they_were_widened():
    (only,) = find_weaknesses([EvalRow("counting", "", "counting", 0.7, summary=320)])
    assert "2.5" in only.note
    assert only.n == 320


def test_a_real_gain_is_better_and_no_change_is_not():
    before = rows(a=[0.25, 0.5] * 20, b=[0.75, 1.0] * 20)
    after = rows(a=[0.75, 1.0] * 20, b=[0.75, 1.0] * 20)
    found = {c.category: c for c in compare(before, after)}
    assert found["a"].verdict == "better"
    assert found["a"].low > 0
    assert found["b"].verdict == "no clear change"
    assert found["b"].difference == 0
    assert found["overall"].difference == pytest.approx((found["a"].difference + found["b"].difference) / 2)
    assert {c.category: c.verdict for c in compare(after, before)}["a"] == "worse"


def test_only_images_that_both_scored_are_paired():
    before, after = rows(a=[0.5] * 8), rows(a=[0.5] * 8)
    after[0] = EvalRow(after[0].prompt_id, after[0].prompt, "a", None, 0)
    assert compare(before, after)[0].difference == pytest.approx(0.0, abs=0.05)
    with pytest.raises(InputError, match="share no scored image"):
        compare(before, rows(z=[1.0]))


def test_the_bootstrap_interval_holds_the_mean_and_is_repeatable():
    a, b = [0.0, 0.5, 1.0] * 10, [0.5, 0.5, 1.0] * 10
    d = paired_bootstrap(a, b)
    assert d == paired_bootstrap(a, b)
    assert d.low < d.mean < d.high


def test_transition_rates_are_shares_of_rows_that_say_so():
    made = [
        EvalRow("0", "p", "a", 1.0, i, extra={"transition": t})
        for i, t in enumerate(["model", "model", "forced", "none"])
    ]
    assert transition_rate([*made, EvalRow("1", "p", "a", 1.0)]) == {
        "model": 0.5,
        "forced": 0.25,
        "none": 0.25,
    }
    assert transition_rate([]) == {}


def test_without_a_target_all_wrong_is_weak_and_all_right_is_not():
    wrong = find_weaknesses(rows(a=[0.0] * 20, b=[0.0] * 20))
    assert {w.verdict for w in wrong} <= {"weak", "likely"} and sum(w.budget for w in wrong) == pytest.approx(
        1
    )
    right = find_weaknesses(rows(a=[1.0] * 20, b=[1.0] * 20))
    assert all(w.verdict in ("fine", "unclear") and w.budget == 0 and w.probability < 1 for w in right)


def test_a_category_alone_is_not_below_its_own_mean():
    (found,) = find_weaknesses(rows(a=[1.0] * 29 + [0.0]))
    assert found.verdict == "unclear" and found.budget == 0
    assert find_weaknesses(rows(a=[1.0] * 29 + [0.0]), 0.99)[0].budget == 1


def test_too_few_prompts_do_not_move_the_others_target():
    usual, more = (
        find_weaknesses(rows(a=[0.75] * 30, b=[1.0] * 30, **extra)) for extra in ({}, {"c": [0.0] * 2})
    )
    assert usual[0].target == more[0].target == pytest.approx(0.875)


def test_a_category_that_nobody_judged_is_told():
    unscored = [r._replace(score=None) for r in rows(b=[1.0] * 5)]
    found = find_weaknesses(rows(a=[0.5] * 20) + unscored)
    assert [w.category for w in found] == ["a"]
    assert "/b: 20 rows, none scored, left out" in found[0].note


def test_a_value_named_other_is_not_the_rest_of_the_values():
    def part(value, share, start):
        some = rows(c=[share] * 20)
        return [r._replace(prompt_id=f"{start}{r.prompt_id}", facets=(("kind", value),)) for r in some]

    found = find_weaknesses(
        [r for i in range(8) for r in part(f"v{i}", 0.75, i)] + part("other", 0.0, 9), target=0.8
    )
    names = [w.id for w in found]
    assert len(set(names)) == len(names) and {"c/kind=other", "c/kind!=other"} <= set(names)
    assert sum(w.budget for w in found) == pytest.approx(1)


def test_graded_scores_that_lie_close_by_luck_are_not_certain():
    close = clustered([[0.7]] * 4 + [[0.701]])
    assert close.high - close.low > 0.1
    rng, hit = np.random.default_rng(0), 0
    for _ in range(300):
        prompts = np.clip(rng.beta(7, 3, (8, 1)) + rng.normal(0, 0.01, (8, 4)), 0, 1)
        e = clustered(prompts.tolist())
        hit += e.low <= 0.7 <= e.high
    assert hit / 300 >= 0.93


def test_a_few_prompts_that_all_agree_are_no_proof():
    assert paired_bootstrap([0.5] * 2, [0.75] * 2).p == 0.5
    assert paired_bootstrap([0.5] * 10, [0.75] * 10).p < 0.01
    assert paired_bootstrap([0.5] * 10, [0.5] * 10).p == 1


def test_results_of_different_prompts_are_not_paired():
    other = [r._replace(prompt=f"another {r.prompt}") for r in rows(a=[0.5] * 3)]
    with pytest.raises(InputError, match="prompt 00000 of a is 'a 0' in the first results and 'another a 0'"):
        compare(rows(a=[0.5] * 3), other)
    textless = [r._replace(prompt="") for r in rows(a=[0.5] * 3)]
    assert compare(rows(a=[0.5] * 3), textless)[-1].difference == 0


def test_categories_of_one_name_in_two_benchmarks_are_compared_apart():
    def both(first, second):
        return [r._replace(benchmark=b) for b, s in (("x", first), ("y", second)) for r in rows(a=[s] * 20)]

    found = {(c.benchmark, c.category): c.difference for c in compare(both(0.0, 1.0), both(1.0, 0.0))}
    assert found == {("x", "a"): 1.0, ("y", "a"): -1.0, ("", "overall"): 0.0}
    named = [r._replace(benchmark="after") for r in rows(a=[0.5] * 3)]  # a mapped file is named by its stem
    assert compare([r._replace(benchmark="before") for r in rows(a=[0.5] * 3)], named)[0].prompts == 3


def test_what_has_no_partner_is_counted():
    assert unpaired(rows(a=[0.5] * 3), rows(a=[0.5] * 2, b=[0.5])) == (4, 4)


def test_a_full_stop_makes_no_other_prompt():
    stopped = [r._replace(prompt=f"{r.prompt.upper()}.") for r in rows(a=[0.5] * 3)]
    assert compare(rows(a=[0.5] * 3), stopped)[0].prompts == 3
