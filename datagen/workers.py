"""Ray Data, and nothing else of the project knows it: jobs streamed through stages, each a pool of actors.

A stage is a function of plain arguments that is built once an actor, so that a model stays loaded. Ray Data
brings what a long build needs: streaming with backpressure (results of one stage wait in the object store, by
reference, only as many as the next can take), a pool with its own resources for each stage, actors that
are started again when they die, tasks that are tried again elsewhere, lost results made again.

Two things it leaves to us. A job that kills every actor it meets would be tried for ever, so a stage marks a
job in a file before it starts and takes the mark away after; one with ``TRIES`` marks is not started again
but comes back as ``Killed``. And a job that hangs would hold its actor, so the actor ends itself after
``timeout``, from a thread that needs no Python lock.

``workers=0`` runs in this process, with identical results. One thread a process everywhere: it makes
results equal, and for a small model on a CPU two such processes are twice as fast as two threads. Actors ask
for a fraction of a CPU, because pools that hold every CPU starve Ray's own tasks in silence.
"""

import faulthandler
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from datagen.errors import DatagenError, WorkError

Job = TypeVar("Job")
TRIES = 3
IN_FLIGHT = 2  # tasks an actor: its next job is there when it ends one, and the others are free for any actor


@dataclass(frozen=True)
class Stage:
    """``make()`` builds the function once an actor. ``gpus`` and ``cpus`` are of each of ``workers`` actors.

    ``gpus`` None: one where the cluster has any.
    """

    make: Callable[[], Callable[[Any], Any]]
    workers: int = 1
    gpus: float | None = 0.0
    cpus: float = 0.5


@dataclass(frozen=True)
class Killed:
    """The result of a job on which ``times`` actors of a stage died or hung."""

    stage: int
    times: int


def run_jobs(
    make: Callable[[], Callable[[Job], Any]],
    jobs: Sequence[Job],
    workers: int,
    address: str | None = None,
) -> Iterator[tuple[Job, Any]]:
    """``run_stages`` with one stage; a job that killed its workers is a ``WorkError``."""
    for job, result in run_stages([Stage(make, workers, None)], jobs, address):
        if isinstance(result, Killed):
            raise WorkError(f"a job killed its worker {result.times} times; is there enough memory?")
        yield job, result


def run_stages(
    stages: Sequence[Stage],
    jobs: Sequence[Job],
    address: str | None = None,
    marks: Path | None = None,
    timeout: float | None = None,
) -> Iterator[tuple[Job, Any]]:
    """Yield ``(job, result or Killed)`` as they finish.

    ``marks``: a folder that all nodes share; a temporary one by default. A ``DatagenError`` in ``make`` or a
    stage stops everything and is raised as it was. No ``timeout`` in this process, where there is nothing to fall back on.
    """
    if not jobs:
        return
    if stages[0].workers == 0:
        yield from _run_here(stages, jobs)
        return
    with tempfile.TemporaryDirectory(prefix="datagen-marks-") as temporary:
        yield from _run_on_ray(stages, jobs, address, marks or Path(temporary), timeout)


def _run_here(stages: Sequence[Stage], jobs: Sequence[Job]) -> Iterator[tuple[Job, Any]]:
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in every worker: threads split sums, and the last bits with them
    try:
        functions = [stage.make() for stage in stages]
        for job in jobs:
            value: Any = job
            for function in functions:
                value = function(value)
            yield job, value
    finally:
        torch.set_num_threads(threads)


def _run_on_ray(
    stages: Sequence[Stage], jobs: Sequence[Job], address: str | None, marks: Path, timeout: float | None
) -> Iterator[tuple[Job, Any]]:
    import ray

    ours = not ray.is_initialized()
    if ours:
        ray.init(
            address=address,
            include_dashboard=False,
            log_to_driver=False,
            configure_logging=False,
            **({} if address else {"num_cpus": 1 + sum(s.workers for s in stages)}),
        )
    marks.mkdir(parents=True, exist_ok=True)
    for old in marks.iterdir():  # of a run that was killed: its jobs are not to blame
        old.unlink(missing_ok=True)
    try:
        for row in _streamed(stages, jobs, marks, timeout):
            state, value = ray.cloudpickle.loads(row["value"])
            if state == "raised":
                raise _rebuilt(value)
            yield jobs[row["number"]], value
    finally:
        if ours:
            ray.shutdown()


def _streamed(
    stages: Sequence[Stage], jobs: Sequence[Any], marks: Path, timeout: float | None
) -> Iterator[dict[str, Any]]:
    """Rows of number and value out of the last stage, in the order in which they finish."""
    import ray
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    gpu = 1.0 if ray.cluster_resources().get("GPU") else 0.0
    items = [{"number": i, "value": ray.cloudpickle.dumps(("ok", job))} for i, job in enumerate(jobs)]
    data = ray.data.from_items(items, override_num_blocks=len(items))
    for number, stage in enumerate(stages):
        data = data.map_batches(
            _Actor,
            fn_constructor_args=(number, stage.make, str(marks), timeout),
            batch_size=1,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(
                size=min(stage.workers, len(jobs)), max_tasks_in_flight_per_actor=IN_FLIGHT
            ),
            num_cpus=stage.cpus,
            num_gpus=gpu if stage.gpus is None else stage.gpus,
        )
    for batch in data.iter_batches(batch_size=1, batch_format="pyarrow", prefetch_batches=0):
        yield from batch.to_pylist()


class _Actor:
    """One stage in a process of its own: a batch of one row in, one row out."""

    def __init__(self, stage: int, make: Callable[[], Any], marks: str, timeout: float | None) -> None:
        self.stage, self.make, self.marks, self.timeout = stage, make, Path(marks), timeout
        self.run: Callable[[Any], Any] | None = None

    def __call__(self, batch: Any) -> Any:
        import pyarrow as pa
        import ray

        (row,) = batch.to_pylist()
        state, value = ray.cloudpickle.loads(row["value"])
        if state == "ok" and not isinstance(value, Killed):
            state, value = self._guarded(row["number"], value)
        data = ray.cloudpickle.dumps((state, value))
        return pa.table({"number": [row["number"]], "value": pa.array([data], pa.large_binary())})

    def _guarded(self, number: int, value: Any) -> tuple[str, Any]:
        mark = self.marks / f"{number}.{self.stage}"
        deaths = mark.stat().st_size if mark.exists() else 0
        if deaths >= TRIES:
            return "ok", Killed(self.stage, deaths)
        with mark.open("ab") as file:
            file.write(b".")
            file.flush()
            os.fsync(file.fileno())
        if self.timeout:
            faulthandler.dump_traceback_later(self.timeout, exit=True, file=sys.__stderr__ or sys.stderr)
        try:
            if self.run is None:  # here, not in __init__: an error there looks like a dead worker
                self.run = self.make()
                if torch := sys.modules.get("torch"):
                    torch.set_num_threads(1)
            return "ok", self.run(value)
        except DatagenError as error:
            return "raised", (type(error), str(error), vars(error))
        finally:
            if self.timeout:
                faulthandler.cancel_dump_traceback_later()
            mark.unlink(missing_ok=True)


_Raised = tuple[type[DatagenError], str, dict[str, Any]]


def _rebuilt(raised: _Raised) -> DatagenError:
    """The error as it was. Pickle cannot carry one whose constructor takes more than its message."""
    kind, message, fields = raised
    error = kind.__new__(kind, message)
    error.__dict__.update(fields)
    return error
