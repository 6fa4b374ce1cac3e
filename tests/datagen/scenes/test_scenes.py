"""Layouts, drawings and captions of scenes."""

import random

import numpy as np
import pytest

from datagen.sample import Clause, Target
from datagen.scenes.captions import COUNT_ODDS, KINDS, sample_caption
from datagen.scenes.draw import draw_layout
from datagen.scenes.layout import (
    Placed,
    Seen,
    check,
    format_layout,
    layout_for,
    layout_satisfies,
    parse_layout,
    related,
)


@pytest.mark.parametrize("kind", KINDS)
def test_every_caption_has_a_parseable_trace_of_what_is_drawn(kind):
    rng = random.Random(0)
    for _ in range(50):
        caption = sample_caption(rng, kind)
        placed = parse_layout(caption.trace)
        assert placed is not None
        assert format_layout(placed) == caption.trace
        assert [(p.shape, p.color, p.cell, p.word) for p in placed] == [
            (p.shape, p.color, p.cell, p.word) for p in caption.layout
        ]


@pytest.mark.parametrize(
    "trace",
    ["", "red circle", "red circle nowhere left", "circle red top left", "red circle top left ;",
     "red circle top left ; blue star top left", "red text C A T top",
     "red text top C two A one", "red text middle C4 one"],
)  # fmt: skip
def test_a_trace_outside_the_grammar_is_none(trace):
    assert parse_layout(trace) is None


def test_counts_in_captions_are_long_tailed():
    rng = random.Random(0)
    counts = [len(sample_caption(rng, "counting").layout) for _ in range(2000)]
    assert counts.count(2) > 1.3 * counts.count(3) > 1.3 * counts.count(4) > counts.count(6)
    assert set(counts) == set(COUNT_ODDS)


def test_a_quarter_of_the_relations_are_captioned_wrong():
    rng = random.Random(0)
    wrong = sum(not sample_caption(rng, "position").clean for _ in range(2000)) / 2000
    assert wrong == pytest.approx(0.25, abs=0.03)


def test_the_same_seed_draws_the_same_pixels():
    placed = [Placed("star", "red", 0), Placed("heart", "blue", 8, "small")]
    a, b = draw_layout(placed, random.Random(3)), draw_layout(placed, random.Random(3))
    assert a.shape == (48, 48, 3)
    assert np.array_equal(a, b)
    assert not np.array_equal(a, draw_layout(placed, random.Random(4)))


def test_a_diagonal_neighbour_is_both_left_and_above():
    assert related((0, 0), "left of", (1, 1))
    assert related((0, 0), "above", (1, 1))
    assert not related((0, 0), "left of", (1, 2))
    assert not related((1, 1), "left of", (1, 1))


def test_counting_fails_above_and_below_the_number():
    target = Target("counting", (Clause("circle", 3),), (Clause("circle", 4),))
    for n, good in ((2, False), (3, True), (4, False)):
        seen = [Seen("circle", "red", "large", float(i), 0.0) for i in range(n)]
        passed, total, reasons = check(seen, [], target)
        assert (passed == total) is good
        assert bool(reasons) is not good


def test_a_relation_without_its_other_object_says_so_in_genevals_words():
    target = Target("position", (Clause("star"), Clause("heart", position=("left of", 0))))
    _, _, reasons = check([Seen("heart", "red", "large", 0, 0)], [], target)
    assert reasons == ["expected star>=1, found 0", "no target for heart to be left of"]


@pytest.mark.parametrize("relation", ["left of", "right of", "above", "below"])
def test_a_layout_for_a_target_satisfies_it(relation):
    target = Target("position", (Clause("star"), Clause("heart", 2, "red", "small", (relation, 0))))
    for seed in range(20):
        placed = layout_for(target, random.Random(seed))
        assert layout_satisfies(placed, target) == (True, "")


def test_an_impossible_target_has_no_layout():
    target = Target("position", (Clause("star"), Clause("star", 20)))
    with pytest.raises(ValueError, match="no layout satisfies"):
        layout_for(target, random.Random(0))


def test_a_layout_that_hardly_comes_out_by_chance_is_found_all_the_same():
    column = [Clause("star"), *(Clause("heart", position=("below", i)) for i in range(2))]
    row = [Clause("square", position=("left of", 0)), Clause("triangle", position=("above", 3))]
    target = Target("dense", (*column, *row))
    for seed in range(50):
        assert layout_satisfies(layout_for(target, random.Random(seed), 20_000), target)[0]
