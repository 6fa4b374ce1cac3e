"""From candidates to the dataset: scores, weights, dedupe, shards, resume, workers."""

import dataclasses
import hashlib
import io
import json
import math
import shutil

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from datagen import pipeline, prompting
from datagen.candidates import generate_candidates, png
from datagen.dataset import load_weighted, save_dataset
from datagen.dedupe import dedupe_images
from datagen.errors import InputError, RecipeError, RewardError, ShardError, UnknownName, WorkError
from datagen.llm.base import Reply
from datagen.models.fake import FakeModel
from datagen.prompt_file import PromptFile
from datagen.recipe import Weights
from datagen.sample import Clause, Sample, Score, Target
from datagen.scores import check_rewards, score_candidates
from datagen.shards import from_row, read_shard, to_row, write_shard
from datagen.stages import Plain
from datagen.weights import ess, rwr, weigh
from rewards import load_reward

TARGET = Target("counting", (Clause("circle", 2),), (Clause("circle", 3),))
PROMPTS = [
    Sample("two circles", TARGET, group_id="g1"),
    Sample("a card with two circles", TARGET, group_id="g2"),
]
SETTINGS = Weights(temperature=0.2, floor=0.5, max=4.0)


class Fixed:
    heldout = False

    def __init__(self, name, values):
        self.name, self.values = name, values

    def score(self, samples):
        return [Score(self.name, v) for v in self.values[: len(samples)]]


def test_seeds_belong_to_recipe_prompt_and_k_not_to_the_batch(small):
    together = generate_candidates(PROMPTS, FakeModel(), small())
    apart = [s for p in PROMPTS for s in generate_candidates([p], FakeModel(), small())]
    assert together == apart
    assert len({s.seed for s in together}) == len({s.id for s in together}) == 8


def test_an_unscored_sample_is_none_and_dropped_never_zero(small):
    rewards = {"scenes": Fixed("scenes", [1.0, None, 0.0]), "trace": Fixed("trace", [1.0, 1.0, None])}
    scored = score_candidates([PROMPTS[0]] * 3, rewards, small())
    assert [s.reward for s in scored] == [1.0, None, 0.0]
    assert [s.dropped for s in scored] == ["", "unscored", ""]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_value_that_is_not_finite_stops_and_names_the_sample(small, value):
    rewards = {"scenes": Fixed("scenes", [value]), "trace": Fixed("trace", [1.0])}
    with pytest.raises(RewardError, match="abc"):
        score_candidates([dataclasses.replace(PROMPTS[0], id="abc")], rewards, small())


class Crashing:
    name, heldout = "their own name", False

    def score(self, samples):
        if any(s.id == "bad" for s in samples):
            raise RuntimeError("out of\nmemory")
        return [Score(self.name, 1.0) for _ in samples]


def test_a_judge_that_crashes_on_one_sample_leaves_none_for_that_one_only(small):
    rewards = {"scenes": Crashing(), "trace": Fixed("trace", [1.0, 1.0, 1.0])}
    samples = [dataclasses.replace(PROMPTS[0], id=i) for i in ("a", "bad", "c")]
    scored = score_candidates(samples, rewards, small())
    assert [s.reward for s in scored] == [1.0, None, 1.0]
    assert [s.dropped for s in scored] == ["", "unscored", ""]
    assert scored[1].scores[0].reason == "crashed: RuntimeError: out of memory"


def test_a_score_is_filed_under_the_name_the_recipe_uses(small):
    rewards = {"scenes": Crashing(), "trace": Fixed("trace", [1.0])}
    (scored,) = score_candidates(PROMPTS[:1], rewards, small())
    assert scored.score("scenes") == 1.0


def test_a_held_out_judge_may_not_weigh(small):
    recipe = small()
    recipe = recipe.model_copy(
        update={"rewards": recipe.rewards.model_copy(update={"image": {"judge": 1.0}})}
    )
    with pytest.raises(InputError, match="held out"):
        check_rewards({n: load_reward(n) for n in recipe.reward_names}, recipe)


def test_an_all_wrong_group_teaches_nothing():
    assert rwr([0.0, 0.0, 0.4], SETTINGS) == [0.0, 0.0, 0.0]


def test_weights_follow_the_formula_and_have_mean_one():
    weights = rwr([1.0, 0.8, 0.6], SETTINGS)
    raw = [math.exp(a / 0.2) for a in (0.2, 0.0, -0.2)]
    assert weights == pytest.approx([3 * r / sum(raw) for r in raw])
    assert sum(weights) / 3 == pytest.approx(1.0)


def test_weights_are_clipped_and_never_negative():
    assert max(rwr([1.0] + [0.5] * 63, SETTINGS)) <= 4.0
    assert min(rwr([1.0, 0.0, 0.5, None], SETTINGS)) == 0.0


def test_unscored_members_count_in_no_mean():
    assert rwr([1.0, None, 0.6], SETTINGS)[::2] == pytest.approx(rwr([1.0, 0.6], SETTINGS))


def test_the_group_mean_is_taken_before_dedupe(small):
    scores = (Score("scenes", 1.0), Score("trace", 1.0))
    low = (Score("scenes", 0.5), Score("trace", 1.0))
    group = [
        dataclasses.replace(PROMPTS[0], scores=scores, reward=1.0, image=b"x", trace="t"),
        dataclasses.replace(
            PROMPTS[0], scores=low, reward=0.5, image=b"x", trace="t", dropped="near_duplicate of a"
        ),
    ]
    kept, dropped = weigh(group, small())
    assert kept.advantage == pytest.approx(0.25)
    assert (dropped.text_weight, dropped.image_weight) == (0.0, 0.0)


def test_ess_counts_equal_weights_and_one_heavy_one():
    assert ess([1.0] * 10) == 10
    assert ess([1.0, 0.0, 0.0]) == 1
    assert ess([]) == 0


def test_the_best_of_a_cluster_of_pictures_stays(small):
    made = generate_candidates(PROMPTS[:1], FakeModel(), small(k=3))
    twin = dataclasses.replace(made[0], id="twin", reward=1.0)
    samples = [dataclasses.replace(s, reward=0.5) for s in made] + [twin]
    done = dedupe_images(samples, 0.995)
    assert done[0].dropped == "near_duplicate of twin"
    assert done[-1].dropped == ""


def test_near_pictures_of_different_targets_are_both_wanted(small):
    made = generate_candidates(PROMPTS[:1], FakeModel(), small(k=1))[0]
    image = Image.open(io.BytesIO(made.image))
    image.paste((255, 0, 0), (4, 4, 10, 10))
    target = Target("counting", (Clause("circle", 3),))
    other = dataclasses.replace(made, id="o", target=target, image=png(image))
    assert [s.dropped for s in dedupe_images([made, other], 0.9)] == ["", ""]


def test_a_sample_survives_its_row(small):
    (sample, *_) = generate_candidates(PROMPTS, FakeModel(), small())
    scored = dataclasses.replace(sample, scores=(Score("a", None, "why"),))
    assert from_row(to_row(scored)) == scored


def test_every_flipped_or_missing_byte_of_a_shard_is_detected(tmp_path, small):
    path = tmp_path / "s.parquet"
    digest = write_shard(path, generate_candidates(PROMPTS[:1], FakeModel(), small(k=2)))
    good = path.read_bytes()
    for at in range(0, len(good), max(1, len(good) // 60)):
        path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        with pytest.raises(ShardError, match=r"s\.parquet"):
            read_shard(path, digest)
        path.write_bytes(good[:at])
        with pytest.raises(ShardError):
            read_shard(path, digest)
    path.write_bytes(good)
    assert len(read_shard(path, digest)) == 2


def digest(run):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in (run / "dataset" / "data").iterdir()}


def test_a_build_makes_a_weighted_dataset_that_opens(tmp_path, small):
    done = pipeline.build(tmp_path, [small(), small("position")], "fake")
    rows = load_weighted(tmp_path / "dataset")
    assert len(rows) == done.kept > 0
    assert rows[0]["image"].size == (48, 48)
    assert set(rows["recipe"]) == {"counting", "position"}
    assert all(w >= 0 for w in rows["image_weight"])
    card = (tmp_path / "dataset" / "README.md").read_text()
    assert "counting" in card and "drop_reason" in card


def test_load_dataset_opens_the_folder(tmp_path, small):
    import datasets

    pipeline.build(tmp_path, [small()], "fake")
    rows = datasets.load_dataset(str(tmp_path / "dataset"), cache_dir=str(tmp_path / "cache"))
    assert rows["train"][0]["image"].size == (48, 48)


def test_dropped_candidates_keep_their_row_and_reason(tmp_path):
    sample = dataclasses.replace(PROMPTS[0], dropped="unscored")
    save_dataset([sample, PROMPTS[1]], tmp_path / "d", "card")
    assert load_weighted(tmp_path / "d", "dropped")["drop_reason"] == ["unscored"]
    assert len(load_weighted(tmp_path / "d")) == 1


def test_an_interrupted_build_resumes_to_the_same_bytes(tmp_path, small, monkeypatch):
    recipes = [small(prompts=20)]
    pipeline.build(tmp_path / "whole", recipes, "fake")
    calls = []
    work = Plain.__call__

    def killed(self, job):
        calls.append(job.name)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return work(self, job)

    monkeypatch.setattr(Plain, "__call__", killed)
    with pytest.raises(KeyboardInterrupt):
        pipeline.build(tmp_path / "cut", recipes, "fake")
    pipeline.build(tmp_path / "cut", recipes, "fake")
    assert len(calls) == 1 + len(list((tmp_path / "cut" / "shards").glob("*.parquet")))
    assert digest(tmp_path / "cut") == digest(tmp_path / "whole")


def test_a_damaged_shard_is_named_and_made_again(tmp_path, small):
    recipes = [small(prompts=10)]
    pipeline.build(tmp_path, recipes, "fake")
    before = digest(tmp_path)
    shard = next((tmp_path / "shards").glob("*00001.parquet"))
    shard.write_bytes(shard.read_bytes()[:-5])
    done = pipeline.build(tmp_path, recipes, "fake")
    assert [shard.name in line for line in done.redone] == [True]
    assert digest(tmp_path) == before


def test_a_build_resumed_with_other_settings_says_what_changed(tmp_path, small):
    pipeline.build(tmp_path, [small(k=2)], "fake")
    with pytest.raises(InputError, match=r"candidates\.k: 2 -> 3"):
        pipeline.build(tmp_path, [small(k=3)], "fake")
    assert pipeline.build(tmp_path, [small(k=3)], "fake", force=True).candidates == 18


def test_a_torn_manifest_is_refused(tmp_path, small):
    pipeline.build(tmp_path, [small(k=2)], "fake")
    path = tmp_path / "manifest.json"
    path.write_text(path.read_text()[:40])
    with pytest.raises(ShardError, match=r"manifest\.json"):
        pipeline.build(tmp_path, [small(k=2)], "fake")


def test_a_build_that_keeps_nothing_says_so(tmp_path, small, monkeypatch):
    from datagen import scores

    monkeypatch.setattr(scores, "combined", lambda group, rewards, modality: [None] * len(group))
    with pytest.raises(WorkError, match="every one was dropped"):
        pipeline.build(tmp_path, [small(k=2)], "fake")


def test_preview_writes_nothing_and_shows_weighted_samples(tmp_path, small, monkeypatch):
    monkeypatch.chdir(tmp_path)
    samples = pipeline.preview([small(k=2), small("position", k=2)], "fake", "template", 3)
    assert len(samples) == 6
    assert list(tmp_path.iterdir()) == []


def test_the_manifest_lists_every_shard_with_its_checksum(tmp_path, small):
    pipeline.build(tmp_path, [small(prompts=10)], "fake")
    lines = (tmp_path / "shards.jsonl").read_text().splitlines()
    assert len(lines) == 2
    for row in (json.loads(line.partition(" ")[2]) for line in lines):
        name, value = row["name"], row["sha256"]
        assert hashlib.sha256((tmp_path / "shards" / name).read_bytes()).hexdigest() == value


@pytest.mark.parametrize("source", ["template", "llm", "none"])
def test_traces_may_come_from_elsewhere(tmp_path, small, source):
    pipeline.build(tmp_path, [small(k=2, trace=source, prompts=4)], "fake")
    found = set(load_weighted(tmp_path / "dataset")["trace_source"])
    assert found <= (
        {"llm", "template"} if source == "llm" else {source}
    )  # a template stands in, and says so


def test_a_mistyped_model_leaves_no_run_directory(tmp_path, small):
    with pytest.raises(UnknownName, match="did you mean 'pocket'"):
        pipeline.build(tmp_path / "run", [small()], "pockett")
    assert not (tmp_path / "run").exists()


def test_a_mistyped_reward_names_recipe_and_choices(tmp_path, small):
    row = small().model_dump() | {"rewards": {"image": {"scnes": 1.0}}}
    with pytest.raises(RecipeError, match=r"'counting': rewards: unknown reward 'scnes'.*valid: .*scenes"):
        pipeline.build(tmp_path / "run", [type(small()).model_validate(row)], "fake")
    assert not (tmp_path / "run").exists()


def test_one_recipe_given_twice_is_refused(tmp_path, small):
    with pytest.raises(InputError, match="given twice"):
        pipeline.build(tmp_path, [small(), small()], "fake")


def test_settings_may_change_until_a_shard_stands(tmp_path, small, monkeypatch):
    def broken(self, job):
        raise WorkError("no")

    with monkeypatch.context() as patch, pytest.raises(WorkError):
        patch.setattr(Plain, "__call__", broken)
        pipeline.build(tmp_path, [small(k=2)], "fake")
    assert pipeline.build(tmp_path, [small(k=3)], "fake").candidates == 18


@pytest.mark.parametrize("damage", ["torn", "changed", "missing"])
def test_damaged_prompts_are_named_and_written_again(tmp_path, small, damage):
    recipes = [small(prompts=10, k=2)]
    pipeline.build(tmp_path, recipes, "fake")
    before, path = digest(tmp_path), tmp_path / "prompts.jsonl"
    text = path.read_text()
    path.unlink()
    if damage != "missing":
        path.write_text(text[:50] if damage == "torn" else text.replace("two", "three"))
    done = pipeline.build(tmp_path, recipes, "fake")
    assert ["prompts.jsonl" in line for line in done.redone] == [True]
    assert digest(tmp_path) == before


def test_shards_of_other_prompts_are_not_used(tmp_path, small, monkeypatch):
    recipes = [small(prompts=10, k=2)]
    pipeline.build(tmp_path, recipes, "fake")
    (tmp_path / "prompts.jsonl").unlink()
    write = prompting.write_prompts
    other = lambda r, v, llm, n, seed, **more: write(r, v, llm, n, seed + 1, **more)  # noqa: E731
    monkeypatch.setattr(prompting, "write_prompts", other)
    pipeline.build(tmp_path, recipes, "fake")
    written = {s.prompt for s in PromptFile(tmp_path / "prompts.jsonl").read("counting", 0, 10)}
    assert set(load_weighted(tmp_path / "dataset")["prompt"]) <= written


def test_a_partial_file_of_a_killed_build_is_cleared(tmp_path, small):
    (tmp_path / "shards").mkdir()
    left = tmp_path / "shards" / ".counting-00000.parquet.4711"
    left.write_bytes(b"half")
    pipeline.build(tmp_path, [small(k=2)], "fake")
    assert not left.exists()


def test_an_untraced_candidate_has_no_trace_and_is_forced(small):
    made = generate_candidates(PROMPTS, FakeModel(), small(trace="none"))
    assert {(s.trace, s.transition) for s in made} == {("", "forced")}


def test_a_saved_fake_model_comes_back_and_a_damaged_one_is_named(tmp_path):
    import torch

    from datagen.errors import ModelError
    from datagen.models import load_model

    model = FakeModel()
    with torch.no_grad():
        model.network["text"] += 0.5
    model.save(str(tmp_path))
    assert load_model(str(tmp_path)).module["text"].item() == 0.5
    (tmp_path / "fake.safetensors").write_bytes(b"half")
    with pytest.raises(ModelError, match=r"fake\.safetensors"):
        load_model(str(tmp_path))


def test_a_build_does_not_go_on_with_other_weights_in_the_folder(tmp_path, small):
    for scale in (1.0, 2.0):
        save_file({"w": torch.full((4000,), scale)}, tmp_path / f"{scale}.safetensors")
    FakeModel().save(str(tmp_path / "model"))
    weights = tmp_path / "model" / "model.safetensors"
    shutil.copy(tmp_path / "1.0.safetensors", weights)
    pipeline.build(tmp_path / "run", [small()], str(tmp_path / "model"))
    shutil.copy(tmp_path / "2.0.safetensors", weights)
    with pytest.raises(InputError, match="weights"):
        pipeline.build(tmp_path / "run", [small()], str(tmp_path / "model"))


def test_prompts_that_none_were_left_of_are_written_again(tmp_path, small, monkeypatch):
    class Mute:
        name = "mute"

        def write(self, requests):
            return [Reply("", "empty")] * len(requests)

    with monkeypatch.context() as patch:
        patch.setattr("datagen.writers.load_llm", lambda name: Mute())
        with pytest.raises(WorkError, match="no prompt was left"):
            pipeline.build(tmp_path, [small()], "fake")
    assert pipeline.build(tmp_path, [small()], "fake").kept


def test_a_forced_build_leaves_no_recipe_of_the_one_before(tmp_path, small):
    pipeline.build(tmp_path, [small()], "fake")
    other = small().model_copy(update={"name": "other"})
    (tmp_path / "recipes" / "draft.yaml").touch()  # a person's own
    pipeline.build(tmp_path, [other], "fake", force=True)
    assert sorted(path.stem for path in (tmp_path / "recipes").iterdir()) == ["draft", "other"]


def test_a_build_of_before_weights_were_recorded_goes_on(tmp_path, small, monkeypatch):
    FakeModel().save(str(tmp_path / "model"))
    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "weights_of", lambda model: {})
        pipeline.build(tmp_path / "run", [small()], str(tmp_path / "model"))
    assert pipeline.build(tmp_path / "run", [small()], str(tmp_path / "model")).kept
