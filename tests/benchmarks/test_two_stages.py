"""Two stages beside one pass: what a refined prompt's picture sees, and what is timed."""

from benchmarks.two_stages import Refined, cost
from datagen.models import load_model
from datagen.models.base import GenerationConfig

PROMPTS = ["three red circles", "a blue star"]


class Spy:
    """The fake model, and what it was asked."""

    name = "spy"

    def __init__(self):
        self.model, self.asked = load_model("fake"), []

    def generate(self, prompts, seeds, config, traces=None):
        self.asked.append((list(prompts), config.trace))
        return self.model.generate(prompts, seeds, config, traces)


def test_a_refined_picture_sees_the_trace_and_not_the_prompt():
    spy = Spy()
    samples = Refined(spy).generate(PROMPTS, [1, 2], GenerationConfig())
    (first, how), (second, then) = spy.asked
    assert (first, how, then) == (PROMPTS, "self", "none")
    assert second == [s.trace for s in samples] != PROMPTS
    assert [s.prompt for s in samples] == PROMPTS and all(s.image for s in samples)


def test_both_ways_are_timed_on_the_same_images():
    row = cost("fake", PROMPTS, rounds=1)
    assert row["images"] == 2 and set(row["seconds"]) == set(row["opened"]) == {"one pass", "two stages"}
    assert min(row["seconds"].values()) > 0
    assert all(0 <= share <= 1 for share in row["opened"].values())
