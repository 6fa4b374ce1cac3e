"""Builds that lose workers, their driver or their disk; see ``benchmarks.faults`` for the whole drill."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from datagen import pipeline, stages
from datagen.dataset import CHECKSUMS, load_weighted
from datagen.errors import WorkError
from datagen.stages import Resources

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def ray():
    import ray

    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, configure_logging=False)
    yield
    ray.shutdown()


def checksums(run):
    return (run / "dataset" / CHECKSUMS).read_bytes()


def poisoned(guilty):
    """The fused stage, except that one prompt ends the process it is rendered in."""

    class Maker(stages.ShardMaker):
        def __call__(self, job):
            if any(p.prompt == guilty for p in job.prompts):
                os._exit(1)
            return super().__call__(job)

    return lambda resources: [stages.Stage(Maker, 2)]


def test_a_prompt_that_kills_workers_is_quarantined_and_the_build_goes_on(tmp_path, small, ray, monkeypatch):
    recipes = [small(prompts=11, k=2)]
    pipeline.build(tmp_path / "whole", recipes, "fake")
    prompts = sorted(set(load_weighted(tmp_path / "whole" / "dataset")["prompt"]))
    guilty = prompts[3]
    monkeypatch.setattr(pipeline, "stages", poisoned(guilty))
    made = pipeline.build(tmp_path / "run", recipes, "fake", workers=2)
    assert list(made.quarantined) == [guilty]
    assert "3 workers died or hung on it" in made.quarantined[guilty]
    kept = set(load_weighted(tmp_path / "run" / "dataset")["prompt"])
    assert kept == set(prompts) - {guilty}
    again = pipeline.build(tmp_path / "run", recipes, "fake", workers=2)  # nothing is tried again
    assert again.quarantined == made.quarantined
    assert again.redone == ()


def test_rewards_may_have_workers_of_their_own(tmp_path, small, ray):
    recipes = [small(prompts=20, k=2)]
    pipeline.build(tmp_path / "here", recipes, "fake")
    who = Resources(workers=1, reward_workers=1)
    pipeline.build(tmp_path / "apart", recipes, "fake", resources=who)
    assert checksums(tmp_path / "here") == checksums(tmp_path / "apart")


def test_a_full_disk_stops_with_one_line_and_the_next_run_goes_on(tmp_path, small, monkeypatch):
    from datagen import shards

    recipes = [small(prompts=20, k=2)]
    pipeline.build(tmp_path / "whole", recipes, "fake")
    write, written = shards.write_atomic, []

    def full(path, data):
        if path.suffix == ".parquet":
            written.append(path)
            if len(written) == 2:
                raise shards.ShardError(f"{path}: cannot be written: No space left on device; free space")
        write(path, data)

    monkeypatch.setattr(shards, "write_atomic", full)
    with pytest.raises(WorkError, match="No space left"):
        pipeline.build(tmp_path / "run", recipes, "fake")
    monkeypatch.setattr(shards, "write_atomic", write)
    pipeline.build(tmp_path / "run", recipes, "fake")
    assert checksums(tmp_path / "run") == checksums(tmp_path / "whole")


def test_a_driver_killed_at_any_moment_resumes_to_the_same_bytes(tmp_path, small):
    """SIGKILL, twice, of a process that builds; the third run ends."""
    recipe = small(prompts=40, k=4)
    pipeline.build(tmp_path / "whole", [recipe], "fake")
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe.to_yaml())
    command = [sys.executable, "-m", "datagen.cli", "build", "--recipe", str(path), "--model", "fake", "--llm",
               "template", "--run", str(tmp_path / "run")]  # fmt: skip
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    shard = tmp_path / "run" / "shards"
    for stop_at in (1, 3):
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while process.poll() is None and len(list(shard.glob("*.parquet"))) < stop_at:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert checksums(tmp_path / "run") == checksums(tmp_path / "whole")
