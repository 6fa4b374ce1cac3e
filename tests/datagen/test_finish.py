"""The end of a build: the same bytes for any workers and after a kill, and nothing done twice."""

import os
import pickle
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.faults import digests
from datagen import finish as finishing
from datagen.candidates import generate_candidates
from datagen.errors import ShardError
from datagen.finish import Sizes, finish
from datagen.models.fake import FakeModel
from datagen.parts import Compare, Scatter, Write
from datagen.sample import Clause, Sample, Target
from datagen.shards import write_shard

HERE = Path(__file__).parent
TINY = Sizes(shards=2, alone=0)


def shards_in(folder, recipes):
    """Six shards a recipe of eight candidates, with copies within a target and across."""
    model, found = FakeModel(), {}
    for recipe in recipes:
        prompts = [
            Sample(f"p{i}", Target("counting", (Clause("circle", 1 + i % 5),)), group_id=f"{recipe.name}{i}")
            for i in range(12)
        ]
        found[recipe.name] = []
        for number in range(6):
            made = generate_candidates(prompts[2 * number : 2 * number + 2], model, recipe)
            image = made[0].image if number % 2 else None
            made = [
                replace(s, recipe=recipe.name, reward=(s.seed % 7) / 7, image=image if i == 5 else s.image)
                for i, s in enumerate(made)
            ]
            path = folder / f"{recipe.name}-{number:05d}.parquet"
            found[recipe.name].append((path, write_shard(path, made)))
    return found


@pytest.fixture
def recipes(small):
    return [small("counting"), small("position")]


@pytest.fixture
def shards(tmp_path, recipes):
    (tmp_path / "shards").mkdir()
    return shards_in(tmp_path / "shards", recipes)


def done_in(folder, shards, recipes, **settings):
    folder.mkdir(exist_ok=True)
    return finish(shards, recipes, folder / "dataset", lambda account: str(account.table()), **settings)


def test_parts_buckets_and_blocks_change_no_candidate(tmp_path, shards, recipes):
    from datagen.dataset import load_weighted

    one = done_in(tmp_path / "one", shards, recipes)
    many = done_in(tmp_path / "many", shards, recipes, sizes=replace(TINY, fits=3))
    assert many.dropped == one.dropped
    assert 0 < one.dropped["near_duplicate"] < one.kept
    for split in ("train", "dropped"):
        rows = [load_weighted(tmp_path / name / "dataset", split) for name in ("one", "many")]
        assert rows[0].remove_columns("image")[:] == rows[1].remove_columns("image")[:]
    assert not (tmp_path / "many" / "finish").exists()


def test_any_number_of_workers_ends_with_the_same_bytes(ray_pool, tmp_path, shards, recipes):
    for workers in (0, 2):
        done_in(tmp_path / str(workers), shards, recipes, workers=workers, sizes=TINY)
    none, two = (digests(tmp_path / str(workers)) for workers in (0, 2))
    assert len(none) >= 6 and "dataset/README.md" in none
    assert two == none


def test_progress_is_told_bucket_by_bucket_and_part_by_part(tmp_path, shards, recipes):
    told = []
    done_in(tmp_path / "run", shards, recipes, sizes=TINY, progress=lambda *x: told.append(x))
    assert told == [("dedupe", n, 18) for n in range(1, 19)] + [("dataset", n, 6) for n in range(1, 7)]


@pytest.mark.parametrize("job", [Scatter, Compare, Write])
def test_what_was_done_before_a_stop_is_not_done_again(tmp_path, shards, recipes, job, monkeypatch):
    done_in(tmp_path / "calm", shards, recipes, sizes=TINY)
    began, work = [], job.__call__

    def stopped(self, item):
        began.append(item)
        if len(began) == 4:
            raise KeyboardInterrupt
        work(self, item)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(job, "__call__", stopped)
        done_in(tmp_path / "cut", shards, recipes, sizes=TINY)
    before = stamps(tmp_path / "cut")
    assemble, after = finishing._assemble, {}
    monkeypatch.setattr(
        finishing, "_assemble", lambda *x: (after.update(stamps(tmp_path / "cut")), assemble(*x))
    )
    done_in(tmp_path / "cut", shards, recipes, sizes=TINY)
    assert len(before) >= 9
    assert {path: after[path] for path in before if path.name != "dropped"} == {
        path: stamp for path, stamp in before.items() if path.name != "dropped"
    }
    assert digests(tmp_path / "cut") == digests(tmp_path / "calm")


KILLED = """
import os, pickle, signal, sys
from datagen.finish import finish
from test_finish import TINY

shards, recipes, folder = pickle.load(sys.stdin.buffer)
def progress(stage, done, total):
    if (stage, done) == (sys.argv[1], int(sys.argv[2])):
        os.kill(os.getpid(), signal.SIGKILL)
finish(shards, recipes, folder, lambda account: "", workers=int(sys.argv[3]), progress=progress, sizes=TINY)
"""


@pytest.mark.parametrize(
    ("stage", "after", "workers"), [("dedupe", 9, 0), ("dataset", 3, 0), ("dataset", 2, 1)]
)
def test_a_killed_end_goes_on_to_the_same_bytes(tmp_path, shards, recipes, stage, after, workers):
    done_in(tmp_path / "calm", shards, recipes, sizes=TINY)
    (tmp_path / "cut").mkdir()
    died = subprocess.run(
        [sys.executable, "-c", KILLED, stage, str(after), str(workers)],
        input=pickle.dumps((shards, recipes, tmp_path / "cut" / "dataset")),
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parents[1])])},
    )
    assert died.returncode == -signal.SIGKILL
    assert not (tmp_path / "cut" / "dataset").exists()
    assert len(stamps(tmp_path / "cut")) >= after
    done_in(tmp_path / "cut", shards, recipes, workers=workers, sizes=TINY)
    assert digests(tmp_path / "cut") == digests(tmp_path / "calm")
    assert not (tmp_path / "cut" / "finish").exists()


def test_work_of_other_shards_or_settings_is_not_used(tmp_path, shards, recipes, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(finishing, "resolved", interrupted)
        done_in(tmp_path / "run", shards, recipes, sizes=TINY)
    (before,) = (tmp_path / "run" / "finish").iterdir()
    strict = [r.model_copy(update={"dedupe": r.dedupe.model_copy(update={"images": 0.5})}) for r in recipes]
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(finishing, "resolved", interrupted)
        done_in(tmp_path / "run", shards, strict, sizes=TINY)
    (now,) = (tmp_path / "run" / "finish").iterdir()
    assert now != before


def test_a_torn_result_is_made_again(tmp_path, shards, recipes, monkeypatch):
    done_in(tmp_path / "calm", shards, recipes, sizes=TINY)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(finishing, "_assemble", interrupted)
        done_in(tmp_path / "cut", shards, recipes, sizes=TINY)
    for path in (tmp_path / "cut" / "finish").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:-3])
    done_in(tmp_path / "cut", shards, recipes, sizes=TINY)
    assert digests(tmp_path / "cut") == digests(tmp_path / "calm")


def test_a_shard_that_changed_is_named_and_no_dataset_written(tmp_path, shards, recipes):
    path, _ = shards["position"][3]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ShardError, match=r"position-00003\.parquet: torn or changed"):
        done_in(tmp_path / "run", shards, recipes, sizes=TINY)
    assert not (tmp_path / "run" / "dataset").exists()


def interrupted(*_):
    raise KeyboardInterrupt


def stamps(run):
    return {p: p.stat().st_mtime_ns for p in (run / "finish").rglob("*") if p.is_file()}
