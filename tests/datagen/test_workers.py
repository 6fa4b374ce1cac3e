"""The pool on Ray: a worker that dies is replaced, and an error arrives as it was raised."""

import os
import time

import pytest

from datagen import workers
from datagen.errors import InputError, ModelError, UnknownName, WorkError
from datagen.workers import Stage, run_jobs, run_stages

pytestmark = pytest.mark.usefixtures("ray_pool")


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


def test_a_job_that_kills_every_worker_is_an_error_of_one_line():
    with pytest.raises(WorkError, match="a job killed its worker 3 times") as caught:
        list(run_jobs(lambda: lambda job: os._exit(1), [0], 1))
    assert "\n" not in str(caught.value)


def test_items_go_through_the_stages_and_an_error_of_the_first_is_raised():
    def half():
        def work(item):
            if item % 2:
                raise ModelError(f"{item} is odd")
            return item // 2

        return work

    stages = [Stage("half", half), Stage("square", lambda: lambda item: item**2)]
    assert sorted(run_stages(stages, [4, 6])) == [(0, 4), (1, 9)]
    with pytest.raises(ModelError, match="3 is odd"):
        list(run_stages(stages, [3]))


def test_an_elastic_pool_does_what_a_fixed_one_does_with_no_more_than_its_most():
    stage = Stage("half", lambda: lambda item: (item, os.getpid()), 2, least=1)
    done = dict(run_stages([stage], range(8)))
    assert {number: item for number, (item, _) in done.items()} == {n: n for n in range(8)}
    assert 1 <= len({worker for _, worker in done.values()}) <= 2


@pytest.mark.parametrize(("seconds", "rows"), [(60.0, [1, 16]), (0.0, [1, 1])])
def test_quick_items_travel_several_in_a_row_and_slow_ones_alone(monkeypatch, seconds, rows):
    for name, value in (("PROBE", 4), ("MANY", 8), ("SECONDS", seconds)):
        monkeypatch.setattr(workers, name, value)
    window, seen = workers._window, []
    monkeypatch.setattr(
        workers,
        "_window",
        lambda stages, items, row, grow: seen.append(row) or window(stages, items, row, grow),
    )
    double = Stage("double", lambda: lambda item: 2 * item, 1, tries=None)
    square = Stage("square", lambda: lambda item: item**2, 1, tries=None)
    assert dict(run_stages([double, square], range(40))) == {n: 4 * n * n for n in range(40)}
    assert seen == rows


def test_workers_that_are_not_there_are_refused_instead_of_waited_for():
    with pytest.raises(InputError, match="2 draw workers want 1 GPUs and this machine has 0"):
        list(run_stages([Stage("draw", lambda: lambda item: item, 2, gpus=0.5)], [0, 1]))
