"""The guarded stages: the prompt that kills its workers is found and left out, everything else is done."""

import dataclasses
import os
import signal
import time
from functools import partial

import pytest

from datagen.errors import ModelError
from datagen.journal import Journal
from datagen.quarantine import Guarded
from datagen.sample import Sample, Target
from datagen.stages import Job, Make, Plain, Render, Score
from datagen.workers import Stage, run_stages


def job(name, *prompts):
    rows = tuple(Sample(p, Target("x"), group_id=f"{name}-{p}") for p in prompts)
    return Job(name, "counting", {}, rows, "fake", "template", "")


def test_only_the_prompt_that_kills_is_left_out_and_the_reason_is_told(ray_pool, tmp_path):
    once = tmp_path / "once"

    def make():
        class Work:
            def load(self, item):
                pass

            def __call__(self, item):
                said = {s.prompt for s in item.prompts}
                if "killer" in said:
                    os.kill(os.getpid(), signal.SIGKILL)
                if "sleeper" in said:
                    time.sleep(60)
                if "unlucky" in said and not once.exists():
                    once.touch()
                    os._exit(1)
                return [s.prompt for s in item.prompts]

            def finish(self, item, result):
                return result, item.quarantined

        return Work()

    jobs = [job("a", "w", "killer", "x"), job("b", "y", "sleeper"), job("c", "unlucky", "z"), job("d", "v")]
    stage = Stage("draw", partial(Guarded, "draw", make, tmp_path, 0.7), 2, 0, None)
    done = dict(run_stages([stage], jobs))
    assert {n: said for n, (said, _) in done.items()} == {
        0: ["w", "x"],
        1: ["y"],
        2: ["unlucky", "z"],
        3: ["v"],
    }
    lost = [q for _, (_, gone) in sorted(done.items()) for q in gone]
    assert [(q.prompt, q.stage, q.reason.split(":")[0]) for q in lost] == [
        ("killer", "draw", "killed, or out of memory"), ("sleeper", "draw", "hung"),
    ]  # fmt: skip
    assert "test_stages.py" in lost[1].reason
    assert [p.name for p in tmp_path.iterdir()] == ["once"]


def test_a_model_that_hangs_while_it_loads_is_told_where(ray_pool, tmp_path):
    def make():
        work = Listing()
        work.load = lambda item: time.sleep(60)
        return work

    guard = partial(Guarded, "draw", make, tmp_path, 60.0, False, 0.5)
    with pytest.raises(ModelError, match=r"3 workers died while they loaded .*: hung: .*test_stages\.py"):
        list(run_stages([Stage("draw", guard, 1, 0, None)], [job("a", "w")]))


def dead(folder, name, key, times):
    """The journal of a shard after ``times`` workers died."""
    for _ in range(times):
        Journal(folder / name)._write({"died": key, "reason": "killed"})


class Listing:
    """Work that says what it was given."""

    def __init__(self):
        self.calls = []

    def load(self, item):
        pass

    def __call__(self, item):
        self.calls.append([s.prompt for s in item.prompts])
        return self.calls[-1]

    def finish(self, item, result):
        return result, item.quarantined


def test_after_a_death_each_prompt_is_tried_alone_and_the_shard_then_whole(tmp_path):
    work = Listing()
    dead(tmp_path, "a.draw", "a", 1)
    assert Guarded("draw", lambda: work, tmp_path, 0)(job("a", "x", "y")) == (["x", "y"], ())
    assert work.calls == [["x"], ["y"], ["x", "y"]]


def test_prompts_that_pass_alone_but_kill_together_are_left_out_together(tmp_path):
    dead(tmp_path, "a.draw", "a", 3)
    said, gone = Guarded("draw", Listing, tmp_path, 0)(job("a", "x", "y"))
    assert said == []
    assert {q.reason for q in gone} == {"together with the others of a: killed"}


def test_three_deaths_in_loading_are_the_models_fault(tmp_path):
    dead(tmp_path, "loading..draw", "counting", 3)
    with pytest.raises(ModelError, match="3 workers died while they loaded what recipe 'counting' needs"):
        Guarded("draw", Listing, tmp_path, 0)(job("a", "x"))


def test_rendered_apart_from_scoring_makes_the_same_shard(tmp_path, small):
    recipe = small(k=2)
    rows = tuple(Sample("two circles", Target("counting"), group_id=g) for g in ("g", "h"))
    one = Job(
        "s.parquet", recipe.name, recipe.model_dump(mode="json"), rows, "fake", "template", str(tmp_path)
    )
    together = Plain(Make)(one)
    assert Plain(Score)(Plain(Render)(one)) == together


def test_a_reward_that_asks_the_model_gets_one_in_a_worker_of_its_own(small):
    bound = []

    class Asking:
        heldout = False

        def bind(self, model):
            bound.append(model.name)

    score = Score()
    recipe = small()
    for name in recipe.reward_names:
        score.rewards[f"{name} {{}}"] = Asking()
    one = Job("s", recipe.name, recipe.model_dump(mode="json"), (), "fake", "template", "")
    score.load(one)
    assert set(bound) == {"fake"}


def test_a_shard_whose_prompts_are_all_left_out_is_empty(tmp_path, small):
    recipe = small(k=2)
    none = Job(
        "s.parquet", recipe.name, recipe.model_dump(mode="json"), (), "fake", "template", str(tmp_path)
    )
    written = Plain(Make)(dataclasses.replace(none))
    from datagen.shards import read_shard

    assert read_shard(tmp_path / "s.parquet", written.sha256) == []
