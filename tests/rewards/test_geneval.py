"""GenEval's rules on 500 generated cases whose answers follow from how they were made, and its edges."""

import random

import pytest

from datagen.sample import Clause, Target
from rewards.geneval import COLORS, Detection, confident, judge, relations

# Where B stands from A (A 40 px wide and high, centred at 500, 500), and what A then is to B, by hand:
# the centres must differ by more than 0.1 * (40 + 40) = 8 px on an axis, and the rest of the offset must be
# more than half of its length.
PLACES = {
    (200, 0): {"left of"},
    (-200, 0): {"right of"},
    (0, 200): {"above"},
    (0, -200): {"below"},
    (200, 200): {"left of", "above"},  # 192 / 283 = .68 on both axes
    (-200, 200): {"right of", "above"},
    (200, 60): {"left of"},  # 52 / 209 = .25: not above
    (60, 200): {"above"},
    (200, 120): {"left of"},  # 112 / 233 = .48
    (200, 140): {"left of", "above"},  # 132 / 244 = .54
    (8, 0): set(),  # within a tenth of both sizes
    (5, 5): set(),
    (0, 0): set(),  # on the same spot
    (12, 0): set(),  # 4 / 12 = .33: clear, but by less than half
    (17, 0): {"left of"},  # 9 / 17 = .53
}


def square(x: float, y: float, score: float = 0.95, side: float = 40) -> Detection:
    return Detection((x - side / 2, y - side / 2, x + side / 2, y + side / 2), score)


def no_colors(cls, found):
    raise AssertionError("no colour is asked for")


@pytest.mark.parametrize(("offset", "expected"), PLACES.items())
def test_a_place_follows_from_the_offset_and_both_sizes(offset, expected):
    assert relations(square(500, 500), square(500 + offset[0], 500 + offset[1])) == expected


def counting(rng: random.Random) -> tuple[dict, Target, bool, str]:
    """Some detections above the threshold, some at or under it: only the first are objects."""
    wanted, under = rng.randint(1, 5), rng.randint(0, 4)
    seen = rng.choice([wanted, wanted, wanted - 1, wanted + 1, rng.randint(0, 20)])
    found = [square(50 * i, 50, 0.91 + 0.001 * i) for i in range(seen)]
    found += [square(50 * i, 500, rng.choice([0.9, 0.5])) for i in range(under)]  # .9 is not above .9
    rng.shuffle(found)
    counted = min(seen, 16)
    target = Target("counting", (Clause("cup", wanted),), (Clause("cup", wanted + 1),))
    if counted < wanted:
        reason = f"expected cup>={wanted}, found {counted}"
    elif counted > wanted:
        reason = f"expected cup<{wanted + 1}, found {counted}"
    else:
        reason = ""
    return {"cup": confident(found, 0.9)}, target, counted == wanted, reason


def presence(rng: random.Random) -> tuple[dict, Target, bool, str]:
    there = {"cup": rng.random() < 0.6, "dog": rng.random() < 0.6}
    objects = {cls: [square(100, 100)] for cls, yes in there.items() if yes}
    target = Target("two_object", (Clause("cup"), Clause("dog")))
    reason = "\n".join(f"expected {cls}>=1, found 0" for cls, yes in there.items() if not yes)
    return objects, target, all(there.values()), reason


def position(rng: random.Random) -> tuple[dict, Target, bool, str]:
    """The dog's place relative to the cup: the cup stands ``offset`` from the dog."""
    offset, true = rng.choice(list(PLACES.items()))
    relation = rng.choice(["left of", "right of", "above", "below"])
    cup_there = rng.random() < 0.85
    objects = {"dog": [square(500, 500)]}
    if cup_there:
        objects["cup"] = [square(500 + offset[0], 500 + offset[1])]
    target = Target("position", (Clause("cup"), Clause("dog", position=(relation, 0))))
    if not cup_there:
        return objects, target, False, f"expected cup>=1, found 0\nno target for dog to be {relation}"
    if relation in true:
        return objects, target, True, ""
    return (
        objects,
        target,
        False,
        f"expected dog {relation} target, found {' and '.join(sorted(true))} target",
    )


def color(rng: random.Random) -> tuple[dict, Target, bool, str, list[str]]:
    """Only the ``count`` most confident are asked for their colour."""
    count, seen = rng.randint(1, 3), rng.randint(0, 6)
    names = [rng.choice(["red", "red", "blue", "white"]) for _ in range(seen)]
    found = [square(100 * i, 100, 0.9 - 0.05 * i) for i in range(seen)]
    target = Target("colors", (Clause("cup", count, "red"),))
    asked = names[:count]
    if seen < count:
        return {"cup": found}, target, False, f"expected cup>={count}, found {seen}", names
    if asked.count("red") == count:
        return {"cup": found}, target, True, "", names
    rest = ", ".join(f"{asked.count(c)} {c}" for c in COLORS if c in asked)
    reason = f"expected red cup>={count}, found {asked.count('red')} red; and {rest}"
    return {"cup": found}, target, False, reason, names


@pytest.mark.parametrize("kind", [counting, presence, position, color])
def test_the_verdict_follows_from_what_was_planted(kind):
    rng = random.Random(kind.__name__)
    right = 0
    for _ in range(125):
        objects, target, correct, reason, *names = kind(rng)

        def colors(cls, found, names=names):
            return names[0][: len(found)]

        verdict = judge(objects, target, colors if names else no_colors)
        assert (verdict.correct, verdict.reason) == (correct, reason)
        assert (verdict.value == 1.0) == correct
        right += correct
    assert 10 < right < 115  # both answers occur


def test_at_most_sixteen_of_a_class_are_looked_at():
    found = confident([square(10 * i, 0, 0.5 + i / 100) for i in range(40)], 0.3)
    assert len(found) == 16
    assert found[0].score == pytest.approx(0.89)
    assert [d.score for d in found] == sorted((d.score for d in found), reverse=True)


def test_a_threshold_is_exceeded_not_reached():
    assert confident([square(0, 0, 0.3), square(50, 0, 0.31)], 0.3) == [square(50, 0, 0.31)]


def test_repeated_boxes_are_dropped_only_where_an_overlap_is_set():
    twice = [square(100, 100, 0.9), square(101, 100, 0.8)]
    assert len(confident(twice, 0.3)) == 2
    assert confident(twice, 0.3, max_overlap=0.8) == twice[:1]


def test_a_place_must_hold_for_every_pair_that_counts():
    cups = [square(100, 500, 0.9), square(900, 500, 0.8)]
    target = Target("position", (Clause("cup", 2), Clause("dog", position=("right of", 0))))
    verdict = judge({"cup": cups, "dog": [square(500, 500)]}, target, no_colors)
    assert verdict.reason == "expected dog right of target, found left of target"
    one = Target("position", (Clause("cup"), Clause("dog", position=("right of", 0))))
    assert judge({"cup": cups, "dog": [square(500, 500)]}, one, no_colors).correct  # the surer cup alone


def test_an_empty_relation_is_worded_as_published():
    target = Target("position", (Clause("cup"), Clause("dog", position=("above", 0))))
    verdict = judge({"cup": [square(500, 500)], "dog": [square(503, 500)]}, target, no_colors)
    assert verdict.reason == "expected dog above target, found  target"


def test_a_wrong_colour_leaves_nothing_to_stand_beside():
    target = Target("position", (Clause("cup", color="red"), Clause("dog", position=("above", 0))))
    verdict = judge(
        {"cup": [square(500, 500)], "dog": [square(500, 100)]},
        target,
        lambda cls, found: ["blue"] * len(found),
    )
    assert verdict.reason.splitlines()[1] == "no target for dog to be above"
    assert (verdict.passed, verdict.total) == (2, 4)  # both are there; the colour and the place are not
