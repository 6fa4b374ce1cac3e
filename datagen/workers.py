"""Ray, and nothing else of the project knows it: shard jobs over a pool of processes.

A job is a function of plain arguments; an actor keeps its model loaded between jobs. Actors ask for
half a CPU, because a pool that holds every CPU starves Ray's own tasks in silence. A worker that
dies is replaced and its job tried again, three times. ``workers=0`` runs in this process, with
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

    A ``DatagenError`` in a job stops everything; a worker that dies is retried, then ``WorkError``.
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
    from ray.exceptions import RayActorError, RayTaskError

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
            self.run = make()

        def work(self, job: Any) -> Any:
            return self.run(job)

    actor = ray.remote(num_cpus=0.5, max_restarts=TRIES)(Worker)
    waiting = list(enumerate(jobs))[::-1]
    tries = dict.fromkeys(range(len(jobs)), 0)
    pool = [actor.remote() for _ in range(min(workers, len(jobs)))]
    running: dict[Any, tuple[int, Any]] = {}
    try:
        for worker in pool:
            number, job = waiting.pop()
            running[worker.work.remote(job)] = (number, worker)
        while running:
            (ref,), _ = ray.wait(list(running), num_returns=1)
            number, worker = running.pop(ref)
            try:
                result = ray.get(ref)
            except RayTaskError as error:
                cause = error.as_instanceof_cause()
                raise cause if isinstance(cause, DatagenError) else error from None
            except RayActorError as error:
                tries[number] += 1
                if tries[number] >= TRIES:
                    raise WorkError(f"job {number} killed its worker {TRIES} times: {error}") from error
                waiting.append((number, jobs[number]))
            else:
                yield jobs[number], result
            if waiting:
                number, job = waiting.pop()
                running[worker.work.remote(job)] = (number, worker)
    finally:
        for worker in pool:
            ray.kill(worker)
        if ours:
            ray.shutdown()
