"""Ray, and nothing else of the project knows it: shard jobs over a pool of processes.

A job is a function of plain arguments; an actor keeps its model loaded between jobs. Actors ask for
half a CPU, because a pool that holds every CPU starves Ray's own tasks in silence. A worker that
dies is replaced and its job tried again, three times in all. ``workers=0`` runs in this process, with
identical results. One thread a process everywhere: it makes results equal, and for a small model on
a CPU two such processes are twice as fast as two threads.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from datagen.errors import DatagenError, WorkError

Job = TypeVar("Job")
TRIES = 3


def run_jobs(
    make: Callable[[], Callable[[Job], Any]],
    jobs: Sequence[Job],
    workers: int,
    address: str | None = None,
) -> Iterator[tuple[Job, Any]]:
    """Yield ``(job, result)`` as they finish. ``make()`` builds the job function once a worker.

    A ``DatagenError`` in ``make`` or a job stops everything and is raised as it was. A worker that dies
    is replaced; a job that three workers died on is a ``WorkError``.
    """
    if not jobs:
        return
    if workers == 0:
        import torch

        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # as in every worker: threads split sums, and the last bits with them
        try:
            run = make()
            for job in jobs:
                yield job, run(job)
        finally:
            torch.set_num_threads(threads)
        return
    yield from _run_on_ray(make, jobs, workers, address)


def _run_on_ray(
    make: Callable[[], Callable[[Job], Any]], jobs: Sequence[Job], workers: int, address: str | None
) -> Iterator[tuple[Job, Any]]:
    import ray
    from ray.exceptions import (
        NodeDiedError,
        ObjectLostError,
        OutOfMemoryError,
        RayActorError,
        WorkerCrashedError,
    )

    died = (RayActorError, NodeDiedError, ObjectLostError, OutOfMemoryError, WorkerCrashedError)
    ours = not ray.is_initialized()
    if ours:
        ray.init(
            address=address,
            include_dashboard=False,
            log_to_driver=False,
            configure_logging=False,
            **({} if address else {"num_cpus": max(workers, 1)}),
        )

    class Worker:
        def __init__(self) -> None:
            import torch

            torch.set_num_threads(1)
            self.run: Callable[[Any], Any] | None = None

        def work(self, job: Any) -> tuple[Any, "_Raised | None"]:
            try:
                if self.run is None:  # here, not in __init__: an error there looks like a dead worker
                    self.run = make()
                return self.run(job), None
            except DatagenError as error:
                return None, (type(error), str(error), vars(error))

    actor = ray.remote(num_cpus=0.5)(Worker)
    waiting = list(enumerate(jobs))[::-1]
    tries = dict.fromkeys(range(len(jobs)), 0)
    pool = [actor.remote() for _ in range(min(workers, len(jobs)))]
    running: dict[Any, tuple[int, Any]] = {}

    def give(worker: Any) -> None:
        if waiting:
            number, job = waiting.pop()
            running[worker.work.remote(job)] = (number, worker)

    try:
        for worker in pool:
            give(worker)
        while running:
            (ref,), _ = ray.wait(list(running), num_returns=1)
            number, worker = running.pop(ref)
            try:
                result, raised = ray.get(ref)
            except died as error:
                tries[number] += 1
                if tries[number] >= TRIES:
                    why = str(error).splitlines()[0]
                    raise WorkError(f"job {number} killed its worker {TRIES} times: {why}") from error
                waiting.append((number, jobs[number]))
                pool.remove(worker)
                ray.kill(worker)
                # A fresh actor, not Ray's restart: while that is under way every call to it fails.
                pool.append(actor.remote())
                give(pool[-1])
                continue
            if raised is not None:
                raise _rebuilt(raised)
            give(worker)  # before the result is handed out, so that no worker waits for the driver
            yield jobs[number], result
    finally:
        for worker in pool:
            ray.kill(worker)
        if ours:
            ray.shutdown()


_Raised = tuple[type[DatagenError], str, dict[str, Any]]


def _rebuilt(raised: _Raised) -> DatagenError:
    """The error as it was. Ray cannot carry one whose constructor takes more than its message."""
    kind, message, fields = raised
    error = kind.__new__(kind, message)
    error.__dict__.update(fields)
    return error
