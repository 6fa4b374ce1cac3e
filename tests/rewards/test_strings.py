"""Lettering: distances, spans, order; the pixel font's verifier and its held-out judge."""

import io
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from datagen.sample import Sample, Target
from datagen.scenes.draw import draw_layout
from datagen.scenes.layout import Placed
from rewards import load_reward
from rewards.letters import LetterJudge
from rewards.spelling import spell
from rewards.strings import edit_distance, match, quoted, similarity, word_accuracy
from rewards.train_letters import accuracy


@pytest.mark.parametrize(
    ("a", "b", "distance"),
    [("", "", 0), ("kitten", "sitting", 3), ("abc", "", 3), ("flaw", "lawn", 2), ("same", "same", 0)],
)
def test_known_distances(a, b, distance):
    assert edit_distance(a, b) == edit_distance(b, a) == distance


@given(st.text(max_size=12), st.text(max_size=12), st.text(max_size=12))
def test_the_distance_is_a_metric(a, b, c):
    assert edit_distance(a, c) <= edit_distance(a, b) + edit_distance(b, c)
    assert (edit_distance(a, b) == 0) == (a == b)


def test_all_quoted_spans_are_found_and_apostrophes_quote_nothing():
    assert quoted('A sign "OPEN" above a shop\'s "Fresh bread"') == ("OPEN", "Fresh bread")
    assert quoted("the word 'hello' and “good day” on Ann's mug") == ("hello", "good day")
    assert quoted("no words at all") == ()


def test_case_and_punctuation_do_not_count_but_every_letter_does():
    assert similarity("Fresh Bread!", "FRESH BREAD") == 1.0
    assert similarity("CAT", "CATS") == pytest.approx(0.75)  # a substring is not perfect
    assert word_accuracy("to be or not to be", "to be") == pytest.approx(2 / 6)


def test_every_span_gets_its_own_lines():
    found = match(("OPEN", "FRESH BREAD"), ["fresh", "bread", "open"])
    assert [m.read for m in found] == ["open", "fresh bread"]
    assert all(m.complete for m in found)
    once = match(("OPEN", "OPEN"), ["open"])
    assert sorted(m.similarity for m in once) == [0.0, 1.0]


def test_the_score_says_what_is_missing_wrong_and_out_of_order():
    right = spell("text", ("ONE", "TWO"), ["one", "two"])
    swapped = spell("text", ("ONE", "TWO"), ["two", "one"])
    missing = spell("text", ("ONE", "TWO"), ["one"])
    assert (right.value, right.reason) == (1.0, "")
    assert swapped.value == pytest.approx(0.9)
    assert "another order" in swapped.reason
    assert missing.value == 0.5
    assert "expected text 'TWO', found 'none'" in missing.reason
    assert missing.details["completion"] == 0.5
    garbage = spell("text", ("ONE",), ["one", "qzrtpl"])
    assert garbage.details["extra"] == pytest.approx(6 / 9)


def lettered(*words: tuple[str, int]) -> bytes:
    rng = random.Random(str(words))
    out = io.BytesIO()
    placed = [Placed("text", "red", row, word=word) for word, row in words]
    Image.fromarray(draw_layout(placed, rng)).save(out, "PNG")
    return out.getvalue()


@pytest.mark.parametrize("name", ["lettering", "letters"])
def test_a_misspelt_word_gets_part_of_the_credit(name):
    target = Target("text", text=("HOUSE",))
    right, near, other, blank = load_reward(name).score(
        [
            Sample("p", target, image=lettered(("HOUSE", 1))),
            Sample("p", target, image=lettered(("HORSE", 1))),
            Sample("p", target, image=lettered(("PLANT", 1))),
            Sample("p", target, image=lettered()),
        ]
    )
    assert (right.value, right.reason) == (1.0, "")
    assert near.value == pytest.approx(0.8)
    assert other.value <= 0.4
    assert blank.value == 0.0


@pytest.mark.parametrize("name", ["lettering", "letters"])
def test_words_are_read_top_to_bottom(name):
    target = Target("text", text=("CAT", "DOG"))
    straight, turned = load_reward(name).score(
        [
            Sample("p", target, image=lettered(("CAT", 0), ("DOG", 2))),
            Sample("p", target, image=lettered(("DOG", 0), ("CAT", 2))),
        ]
    )
    assert straight.value == 1.0
    assert turned.value == pytest.approx(0.9)


def test_the_letter_judge_reads_at_least_99_percent_of_drawn_words():
    assert accuracy(LetterJudge().net, 200, seed=9) >= 0.99


def test_the_letter_judge_refuses_other_sizes_one_by_one():
    big = io.BytesIO()
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(big, "PNG")
    target = Target("text", text=("CAT",))
    wrong, right = LetterJudge().score(
        [Sample("p", target, image=big.getvalue()), Sample("p", target, image=lettered(("CAT", 1)))]
    )
    assert wrong.value is None
    assert "64 x 64" in wrong.reason
    assert right.value == 1.0
