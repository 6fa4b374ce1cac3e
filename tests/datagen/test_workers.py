"""The pool on Ray: a worker that dies is replaced, and an error arrives as it was raised."""

import os
import time

import pytest

from datagen.errors import ModelError, UnknownName, WorkError
from datagen.workers import run_jobs


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

    assert sorted(run_jobs(make, range(6), 2)) == [(n, 2 * n) for n in range(6)]


def test_a_job_that_kills_three_workers_is_named():
    def make():
        return lambda job: os._exit(1)

    with pytest.raises(WorkError, match="job 0 killed its worker 3 times") as caught:
        list(run_jobs(make, [0], 1))
    assert "\n" not in str(caught.value)


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


def test_a_slow_reader_leaves_no_worker_waiting():
    started = time.monotonic()
    for _ in run_jobs(lambda: lambda job: time.sleep(0.5), range(6), 1):
        time.sleep(0.5)
    assert time.monotonic() - started < 5.5  # one after the other it would be 6 and the start
