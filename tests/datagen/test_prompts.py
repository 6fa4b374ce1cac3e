"""Targets, prompts, suites and decontamination."""

import random

import pytest

from datagen.decontaminate import normalise
from datagen.errors import InputError, UnknownName
from datagen.llm.base import CUT_OFF, Reply
from datagen.llm.template import TemplateLLM
from datagen.pipeline import build
from datagen.prompts import check_prompt, distinct_n, parse_prompt, write_prompts
from datagen.recipe import load_recipe
from datagen.sample import Clause, Target
from datagen.suites import SUITE_OF, TAGS, load_suite, scenes_suite
from datagen.targets import SAMPLERS, VOCABULARIES, is_held_out, sample_targets

SCENES = VOCABULARIES["scenes"]
RECIPE_OF = {"two_object": "two_objects", "color_attr": "color_attribution"}


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("a photo of three red circles and a tree", ""),
        ("Three red circles on a table.", ""),
        ("two red circles", "asks for something else"),
        ("three blue circles", "asks for something else"),
        ("three red circles and a blue star", "asks for something else"),
        ("three red circles in a green room", "stray word 'green'"),
        ("three red circles and not a cloud", "stray word 'not'"),
        ("three red circles, the left one", "stray word 'left'"),
        ("three red circle", "no number for an object"),
        ("red circles", "no number for an object"),
        ("a nice day", "no object"),
        ("word " * 40 + "three red circles", "too long"),
    ],
)
def test_a_prompt_is_accepted_only_if_it_asks_for_exactly_the_target(text, cause):
    target = Target("counting", (Clause("circle", 3, "red"),), (Clause("circle", 4),))
    assert check_prompt(text, target, SCENES) == cause


def test_left_of_and_right_of_are_the_same_target_said_twice():
    a, _ = parse_prompt("a star left of a heart", SCENES)
    b, _ = parse_prompt("a heart to the right of a star", SCENES)
    c, _ = parse_prompt("a heart left of a star", SCENES)
    assert a and b and c
    assert Target("position", a).key == Target("position", b).key != Target("position", c).key


@pytest.mark.parametrize("vocabulary", ["scenes", "coco"])
def test_builds_and_evaluation_never_share_a_target(vocabulary):
    served = [n for n in SAMPLERS if load_recipe(RECIPE_OF.get(n, n)).serves(vocabulary)]
    built = {t.key for n in served for t in sample_targets(n, VOCABULARIES[vocabulary], 300, 3, {})}
    suite = load_suite(SUITE_OF[vocabulary])
    assert not built & {s.target.key for s in suite}
    assert all(is_held_out(s.target) for s in suite)


def test_the_suite_has_sixty_distinct_prompts_a_tag_in_wording_no_build_uses():
    from datagen import suites
    from datagen.llm import template

    suite = scenes_suite(60)
    assert {tag: sum(s.target.tag == tag for s in suite) for tag in TAGS} == dict.fromkeys(TAGS, 60)
    assert len({normalise(s.prompt) for s in suite}) > 300
    assert not {*suites.OPENINGS} & {*template.OPENINGS}
    assert not ({*suites.ENDINGS} & {*template.ENDINGS}) - {""}


def test_writing_is_repeatable_and_distinct(small):
    once, again = (write_prompts(small(prompts=40), SCENES, TemplateLLM(), 40, 0) for _ in range(2))
    assert once == again
    assert len({s.prompt.lower() for s in once.samples}) == 40
    assert once.acceptance > 0.8
    assert once.wordings > 10
    assert write_prompts(small(prompts=40), SCENES, TemplateLLM(), 40, 1).samples != once.samples


def test_prompts_are_handed_on_as_they_are_written_and_not_kept(small):
    handed = []
    done = write_prompts(small(prompts=40), SCENES, TemplateLLM(), 40, 0, keep=handed.append)
    whole = write_prompts(small(prompts=40), SCENES, TemplateLLM(), 40, 0)
    assert tuple(handed) == whole.samples and done.samples == ()
    assert (done.written, done.wordings, done.rejected) == (40, whole.wordings, whole.rejected)


def test_progress_counts_prompts_over_all_recipes(small, tmp_path):
    seen = []
    recipes = [small(prompts=5), small("position", prompts=3)]
    build(tmp_path, recipes, "fake", progress=lambda stage, done, total: seen.append((stage, done, total)))
    assert [done for stage, done, _ in seen if stage == "prompts"] == list(range(9))
    assert {total for stage, _, total in seen if stage == "prompts"} == {8}


class Rambling:
    """An LLM that keeps the phrase in one answer of three."""

    name = "rambling"

    def write(self, requests):
        rng = random.Random(len(requests))
        return [Reply(rng.choice((r.phrase, "", f"{r.phrase} and a red star"))) for r in requests]


def test_bad_answers_are_tried_again_and_counted_by_cause(small):
    result = write_prompts(small(prompts=10), SCENES, Rambling(), 10, 0)
    assert len(result.samples) == 10
    assert result.attempts == 10 + sum(result.rejected.values())
    assert {"empty", "asks for something else"} <= set(result.rejected)


class Mute:
    name = "mute"

    def write(self, requests):
        return [Reply("", CUT_OFF) for _ in requests]


def test_an_llm_that_never_answers_ends_with_no_prompts(small):
    result = write_prompts(small(prompts=3), SCENES, Mute(), 3, 0)
    assert result.samples == ()
    assert result.acceptance == 0.0
    assert result.rejected == {CUT_OFF: result.attempts}


def test_an_unknown_sampler_or_suite_lists_the_valid_ones():
    with pytest.raises(UnknownName, match="counting"):
        sample_targets("countng", SCENES, 1, 0, {})
    with pytest.raises(UnknownName, match="scenes"):
        load_suite("scene")


def test_impossible_counts_are_refused():
    with pytest.raises(InputError, match=r"1\.\.6"):
        sample_targets("counting", SCENES, 1, 0, {"min": 2, "max": 60})


def test_distinct_n_is_one_without_repeats():
    assert distinct_n(["a b c", "d e f"]) == 1.0
    assert distinct_n(["a b", "a b"]) == 0.5
