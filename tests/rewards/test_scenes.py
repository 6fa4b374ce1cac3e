"""The verifier and the judge against ground truth, and what they do with bad input."""

import io
import random

import numpy as np
import pytest
from PIL import Image

from datagen.registry import resolve
from datagen.sample import Clause, Sample, Target
from datagen.scenes.captions import sample_caption
from datagen.scenes.draw import draw_layout
from datagen.scenes.layout import Placed, format_layout
from rewards import REWARDS, load_reward
from rewards.judge import SceneJudge
from rewards.scenes import SceneVerifier
from rewards.trace import FollowsTrace, TraceVerifier
from rewards.train_judge import accuracy, random_layout
from rewards.vision import objects, read_words


def png(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(array).save(out, "PNG")
    return out.getvalue()


def cells(seen) -> list[tuple[str, str, str, int]]:
    return sorted((s.cls, s.color, s.size, int(s.y // 16) * 3 + int(s.x // 16)) for s in seen)


def test_the_verifier_reads_at_least_99_percent_of_drawn_scenes_without_an_error():
    rng = random.Random(11)
    right = 0
    for _ in range(300):
        layout = random_layout(rng)
        said = sorted((p.shape, p.color, p.size or "large", p.cell) for p in layout)
        right += cells(objects(draw_layout(layout, rng))) == said
    assert right >= 297


def test_the_judge_reads_at_least_99_percent_of_drawn_scenes_without_an_error():
    assert accuracy(SceneJudge().net, 300, seed=11) >= 0.99


def test_the_font_is_read_without_an_error():
    rng = random.Random(2)
    for _ in range(40):
        caption = sample_caption(rng, "text")
        assert read_words(draw_layout(caption.layout, rng)) == [caption.layout[0].word]


def scene(*placed: Placed) -> bytes:
    return png(draw_layout(placed, random.Random(0)))


RED_LEFT_OF_BLUE = Target(
    "position", (Clause("circle", color="red"), Clause("square", color="blue", position=("right of", 0)))
)


@pytest.mark.parametrize("name", ["scenes", "judge"])
def test_right_and_wrong_pictures_get_one_and_less(name):
    reward = load_reward(name)
    circle, square = Placed("circle", "red", 3), Placed("square", "blue", 5)
    flipped = scene(Placed("circle", "red", 5), Placed("square", "blue", 3))
    good, swapped, missing = reward.score(
        [
            Sample("p", RED_LEFT_OF_BLUE, image=scene(circle, square)),
            Sample("p", RED_LEFT_OF_BLUE, image=flipped),
            Sample("p", RED_LEFT_OF_BLUE, image=scene(square)),
        ]
    )
    assert good.value == 1.0
    assert good.reason == ""
    assert 0 < swapped.value < 1
    assert missing.value < swapped.value
    assert "found 0" in missing.reason


@pytest.mark.parametrize("name", ["scenes", "follows", "judge"])
def test_an_unopened_image_scores_zero_and_a_torn_one_is_unscored(name):
    reward = load_reward(name)
    trace = "red circle middle left ; blue square middle right"
    whole = scene(Placed("circle", "red", 3), Placed("square", "blue", 5))
    unopened, torn = reward.score(
        [
            Sample("p", RED_LEFT_OF_BLUE, trace=trace, image=None),
            Sample("p", RED_LEFT_OF_BLUE, trace=trace, image=whole[:60]),
        ]
    )
    assert unopened.value == 0.0
    assert torn.value is None
    assert torn.reason


def test_a_trace_is_judged_by_its_layout():
    trace = TraceVerifier()
    right, wrong, nonsense, none = trace.score(
        [
            Sample("p", RED_LEFT_OF_BLUE, trace="red circle middle left ; blue square middle right"),
            Sample("p", RED_LEFT_OF_BLUE, trace="red circle middle right ; blue square middle left"),
            Sample("p", RED_LEFT_OF_BLUE, trace="I will draw it"),
            Sample("p", RED_LEFT_OF_BLUE, trace=""),
        ]
    )
    assert right.value == 1.0
    assert 0 < wrong.value < 1
    assert nonsense.value == 0.0
    assert none.value is None


def test_following_the_trace_is_judged_apart_from_the_target():
    layout = [Placed("circle", "red", 3), Placed("star", "black", 8, "small")]
    right, wrong = FollowsTrace().score(
        [
            Sample("p", RED_LEFT_OF_BLUE, trace=format_layout(layout), image=scene(*layout)),
            Sample("p", RED_LEFT_OF_BLUE, trace=format_layout(layout), image=scene(layout[0])),
        ]
    )
    assert right.value == 1.0
    assert wrong.value == pytest.approx(2 / 3)


def test_lettering_is_unscored_by_the_judge_never_zero():
    target = Target("text", text=("CAT",))
    image = scene(Placed("text", "red", 1, word="CAT"))
    assert SceneJudge().score([Sample("p", target, image=image)])[0].value is None
    assert SceneVerifier().score([Sample("p", target, image=image)])[0].value == 1.0


def test_a_picture_of_another_size_is_unscored_by_the_judge():
    image = png(np.full((64, 64, 3), 255, np.uint8))
    score = SceneJudge().score([Sample("p", RED_LEFT_OF_BLUE, image=image)])[0]
    assert score.value is None
    assert "64 x 64" in score.reason


def test_only_the_networks_trained_for_it_are_held_out():
    assert {name for name, path in REWARDS.items() if resolve("reward", path, {}).heldout} == {
        "dense_judge",
        "judge",
        "letters",
    }
