"""The pool on Ray: a worker that dies is replaced, and an error arrives as it was raised."""

import os
import time

import pytest

from datagen.errors import ModelError, UnknownName, WorkError
from datagen.workers import TRIES, Killed, Stage, run_jobs, run_stages


@pytest.fixture(scope="module", autouse=True)
def pool():
    """One Ray for the file; ``run_jobs`` joins one that runs."""
    import ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    yield
    ray.shutdown()


def test_every_job_may_kill_one_worker_and_all_are_done(tmp_path):
    def make():
        def work(job):
            mark = tmp_path / str(job)
            if not mark.exists():
                mark.touch()
                os._exit(1)
            return 2 * job

        return work

    assert sorted(run_jobs(make, range(4), 2)) == [(n, 2 * n) for n in range(4)]


def test_an_error_of_ours_arrives_as_it_was_from_a_job_and_from_loading():
    def work(job):
        raise ModelError("one line")

    def make():
        raise UnknownName("model", "pockett", ["fake", "pocket"])

    with pytest.raises(ModelError) as caught:
        list(run_jobs(lambda: work, [0, 1], 2))
    assert str(caught.value) == "one line"
    with pytest.raises(UnknownName) as unknown:
        list(run_jobs(make, [0], 1))
    assert str(unknown.value) == "unknown model 'pockett' (did you mean 'pocket'?); valid: fake, pocket"
    assert unknown.value.valid == ["fake", "pocket"]


def test_a_worker_has_its_next_job_before_the_last_result_is_read(tmp_path):
    def make():
        return lambda job: (tmp_path / str(job)).touch()

    results = run_jobs(make, [0, 1], 1)
    next(results)  # the reader now stands still; the second job must run all the same
    until = time.monotonic() + 60
    while not (tmp_path / "1").exists() and time.monotonic() < until:
        time.sleep(0.02)
    assert (tmp_path / "1").exists()
    results.close()


def test_a_job_that_kills_every_worker_or_hangs_comes_back_and_the_others_are_done(tmp_path):
    def make():
        def work(job):
            if job == 1:
                os._exit(1)
            if job == 2:
                time.sleep(3600)
            return job

        return work

    found = dict(run_stages([Stage(make, 2)], range(5), marks=tmp_path / "marks", timeout=2))
    assert found == {0: 0, 1: Killed(0, TRIES), 2: Killed(0, TRIES), 3: 3, 4: 4}
    with pytest.raises(WorkError, match="killed its worker 3 times"):
        list(run_jobs(make, [1], 1))


def test_stages_hand_on_what_they_made_and_pass_over_what_died(tmp_path):
    def first():
        return lambda job: os._exit(1) if job == 2 else [job] * 3

    def second():
        return lambda value: (len(value), sum(value))

    found = dict(run_stages([Stage(first, 2), Stage(second, 1, cpus=0.25)], range(4), marks=tmp_path))
    assert found == {0: (3, 0), 1: (3, 3), 2: Killed(0, TRIES), 3: (3, 9)}
    assert dict(run_stages([Stage(lambda: abs, 0), Stage(lambda: str, 0)], [-1, 2])) == {-1: "1", 2: "2"}


def test_marks_of_a_run_that_was_killed_blame_nobody(tmp_path):
    (tmp_path / "0.0").write_bytes(b"." * TRIES)
    assert list(run_stages([Stage(lambda: str, 1)], [7], marks=tmp_path)) == [(7, "7")]
    assert list(tmp_path.iterdir()) == []
