"""The guard: what was written, what is too near, which regions are full, and what the report says of it."""

import dataclasses

import numpy as np
import pytest

from datagen.decontaminate import NEAR, SAME_OPENING, Evaluation
from datagen.embedding import SparseRows, TextSpace, prompt_vector, words_vector
from datagen.guard import NEAR_DUPLICATE, EvaluationIndex, PromptGuard, Said, self_similarity
from datagen.llm.template import TemplateLLM
from datagen.neighbours import Index
from datagen.prompting import write_recipe
from datagen.prompts import check_prompt, phrase, write_prompts
from datagen.prompts.write import REGION_FULL
from datagen.recipe import Dedupe, list_recipes, load_recipe
from datagen.regions import Regions
from datagen.sample import Clause, Sample, Target
from datagen.suites import evaluation_of, is_geneval_prompt
from datagen.targets import VOCABULARIES

COCO = VOCABULARIES["coco"]
DOGS = Target("counting", (Clause("dog", 2),))


def sample(prompt, target=DOGS):
    return Sample(prompt, target, recipe="counting")


def guard(n=100, prompts=(), said=None, openings=(), **settings):
    evaluation = EvaluationIndex(Evaluation.of([sample(p, Target("t")) for p in prompts], openings))
    return PromptGuard(evaluation, Dedupe(**settings), n, said)


def test_the_first_of_two_near_equal_prompts_of_one_target_stays():
    one = guard()
    cats = Target("counting", (Clause("cat", 2),))
    causes = one.refuse(
        [sample("Two dogs on grass"), sample("Two dogs on grass."), sample("Two cats on grass", cats)],
        ["two dogs", "two dogs", "two cats"],
    )
    assert causes == ["", NEAR_DUPLICATE, ""]
    assert one.refuse([sample("two dogs on  grass")], ["two dogs"]) == [NEAR_DUPLICATE]


def test_near_prompts_of_different_targets_both_stay():
    three = Target("counting", (Clause("dog", 3),))
    assert guard(prompts=()).refuse(
        [sample("A card with two dogs, nothing else at all around them in the whole wide frame"),
         sample("A card with three dogs, nothing else at all around them in the whole wide frame", three)],
        ["two dogs", "three dogs"],
    ) == ["", ""]  # fmt: skip


def test_a_prompt_is_written_once_in_a_build_whatever_the_recipe():
    said = Said()
    assert guard(said=said).refuse([sample("Two dogs")], ["two dogs"]) == [""]
    assert guard(said=said).refuse([sample("two  dogs")], ["two dogs"]) == [
        f"{NEAR_DUPLICATE} in recipe counting"
    ]


def test_a_full_region_is_neither_asked_for_nor_added_to():
    one = guard(n=100, crowd=0.04, region=0.9)
    assert one.full(["two dogs"]) == [False]
    texts = [
        f"{place} there are two dogs" for place in ("Here", "Outside", "By a river", "In fog", "At noon")
    ]
    assert one.refuse([sample(t) for t in texts], ["two dogs"] * 5) == ["", "", "", "", REGION_FULL]
    assert one.full(["two dogs", "three cats"]) == [True, False]
    assert one.refuse([sample("At dawn there are two dogs")], ["two dogs"]) == [REGION_FULL]


class Counting(TemplateLLM):
    def __init__(self):
        self.asked = []

    def write(self, requests):
        self.asked += [r.phrase for r in requests]
        return super().write(requests)


def test_the_llm_is_not_asked_about_a_region_that_is_full(small):
    recipe = small("single_object").for_vocabulary("coco")
    recipe = recipe.model_copy(update={"dedupe": Dedupe(crowd=0.02, region=0.9)})
    llm = Counting()
    one = PromptGuard(EvaluationIndex(Evaluation()), recipe.dedupe, 200)
    result = write_prompts(recipe, COCO, llm, 200, 0, guard=one)
    assert len(result.samples) == 200
    assert result.skipped > 0
    phrases = [phrase(s.target, COCO) for s in result.samples]
    assert max(phrases.count(p) for p in phrases) <= 4
    assert result.attempts == len(llm.asked) == 200 + sum(result.rejected.values())


def test_an_evaluation_prompt_in_nearly_its_words_is_refused():
    prompts = [f"a photo of a bench and a {cls}" for cls in list(COCO.classes)[10:40]]
    one = guard(prompts=prompts, openings=["a photo of"])
    zebras = Target("t", (Clause("zebra"),))
    causes = one.refuse(
        [sample("a photo of a zebra", zebras), sample("A bench and a zebra.", zebras), sample("A zebra", zebras)],
        ["a zebra"] * 3,
    )  # fmt: skip
    assert causes == [SAME_OPENING, NEAR, ""]
    dropped = one.survivors()
    assert [(d.reason, d.like, d.survivor) for d in dropped] == [
        (SAME_OPENING, "photo of", "A zebra"),
        (NEAR, "a photo of a bench and a zebra", "A zebra"),
    ]
    assert 0.85 < dropped[1].similarity < 1


def test_an_index_counts_what_is_within_a_threshold():
    index = Index(3)
    assert [list(found) for found in index.within(np.eye(3, dtype=np.float32), 0.5)] == [[], [], []]
    index.add(np.array([[1, 0, 0], [0.6, 0.8, 0]], dtype=np.float32))
    near = index.within(np.array([[0.8, 0.6, 0], [1, 0, 0]], dtype=np.float32), 0.7)
    assert [sorted(found) for found in near] == [[0, 1], [0]]


def test_a_region_counts_equal_phrases_as_often_as_they_were_kept():
    regions = Regions(0.9)
    for words in ("two dogs", "two dogs", "three cats"):
        regions.add(words, words_vector(words))
    asked = np.stack([words_vector(p) for p in ("two dogs", "three cats", "a bench")])
    assert regions.around(asked) == [2, 1, 0]
    assert len(regions.numbers) == 2


def test_sparse_rows_are_the_vectors_that_were_stored():
    rows, texts = SparseRows(), ["two dogs on grass", "a purple kite", "two dogs"]
    numbers = [rows.add(prompt_vector(t)) for t in texts]
    asked = prompt_vector("two dogs on sand")
    wanted = [float(asked @ prompt_vector(t)) for t in texts]
    assert rows.similarities(asked, numbers) == pytest.approx(wanted, abs=1e-6)
    assert rows.similarities(asked, [2]) == pytest.approx(wanted[2:], abs=1e-6)
    assert rows.nearest(asked) == int(np.argmax(wanted))


def test_vectors_are_of_unit_length_and_rare_words_weigh_more():
    assert np.linalg.norm(prompt_vector("a dog")) == pytest.approx(1)
    assert words_vector("two red dogs") @ words_vector("two red cats") == pytest.approx(0.6)
    space = TextSpace([f"a photo of {x}" for x in ("dogs", "cats", "cups", "pens")])
    a, b, c = space.vectors(["a photo of dogs", "a photo of cats", "dogs in rain"])
    plain = TextSpace([]).vectors(["a photo of dogs", "a photo of cats"])
    assert a @ b < plain[0] @ plain[1]
    assert a @ c > 0.3


def test_self_similarity_is_one_for_copies_and_low_for_strangers():
    assert self_similarity(["a dog", "a dog"]) == pytest.approx({"mean": 1, "nearest": 1})
    assert self_similarity(["purple kites", "a bench"])["nearest"] < 0.2
    assert self_similarity(["alone"]) == {"mean": 0.0, "nearest": 0.0}


@pytest.fixture(scope="module")
def photographs():
    return EvaluationIndex(evaluation_of("coco"))


@pytest.mark.parametrize("name", list_recipes())
def test_every_recipe_writes_its_prompts_and_none_is_the_benchmarks(name, photographs):
    recipe = load_recipe(name).for_vocabulary("coco")
    kept, report = write_recipe(recipe, COCO, TemplateLLM(), 60, 1, photographs)
    assert len(kept) == report["kept"] == 60
    assert not [s.prompt for s in kept if is_geneval_prompt(s.prompt)]
    assert not [
        s for s in kept if photographs.evaluation.overlap(s)[0] or check_prompt(s.prompt, s.target, COCO)
    ]
    assert report["attempts"] == 60 + sum(report["rejected"].values())
    assert set(report["contaminated"]) <= {SAME_OPENING}
    assert all(d["survivor"] in {s.prompt for s in kept} for d in report["dropped"])
    assert {d["reason"] for d in report["dropped"]} <= set(report["rejected"])
    assert 0 < report["self_similarity"]["nearest"] < 0.95
    assert report["distinct_2"] > 0.1


def test_the_benchmarks_wording_is_recognised_apart_from_the_parser():
    said = ["a photo of a bench", "A photo of two benches", "a photo of a red car", "a photo of a cup left of a dog",
            "a photo of a red cup and a blue dog", "a photo of a cup and a dog."]  # fmt: skip
    assert all(map(is_geneval_prompt, said))
    others = [
        "a photo of a bench in rain",
        "a picture of a bench",
        "a photo of a unicorn",
        "a photo of two bench",
    ]
    assert not any(map(is_geneval_prompt, others))


def test_settings_that_are_left_out_are_the_recipes_own():
    assert dataclasses.asdict(guard().evaluation.evaluation)["openings"] == ()
    assert guard(n=10, crowd=0.02).most == 4
    assert guard(n=1000, crowd=0.02).most == 20
    assert guard().full(["two dogs"]) == [False]
