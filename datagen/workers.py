"""Ray Data: items through stages, each a pool of processes.

A stage is a function of plain values; an actor builds it once and keeps its model loaded. Values travel
between stages by reference, in Ray's object store; the driver holds the first ones and the last ones.
Ray Data does the scheduling, the backpressure and the retries: a worker that dies is restarted, on
another node if its own is gone, and its items tried again; what a node took with it is computed anew.
``workers=0`` calls the same functions in this process, with identical results.

Ray Data's own checkpoint (``ray.data.checkpoint``, alpha) is not used: it notes which rows a write has passed,
keeps them all in memory, and knows no checksum, so that a torn or swapped file would count as done. The manifest does.

One thread a process everywhere: it makes results equal, and for a small model on a CPU two such processes
are twice as fast as two threads.
"""

import logging
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from datagen.cluster import CPUS, packed_error, raised_again, ray_session
from datagen.errors import DatagenError, InputError, WorkError

TRIES = 3
WINDOW = 2048  # rows of an execution: the driver holds a block of each, and makes them all before it begins
# A row costs Ray some 20 ms. Where items are quicker, a first execution of few finds it out, and rows hold several.
PROBE = 64  # items of each worker in the first
MANY = 1024  # items left that make it worth while
TOGETHER, SECONDS = 16, 0.5  # at most in a row, and what they may take
DEATHS_AT_START = 1000  # in a row, a pool; a node that goes takes starting workers with it


@dataclass(frozen=True)
class Stage:
    """``make()`` builds the stage's function, once a worker.

    ``gpus`` a worker; None is one where Ray has GPUs, and none elsewhere. ``tries`` None is for a
    function that counts its own deaths: Ray then retries for ever. ``least`` makes the pool elastic: Ray
    keeps between ``least`` and ``workers``, by what waits for them.
    """

    name: str
    make: Callable[[], Callable[[Any], Any]]
    workers: int = 1
    gpus: float | None = None
    tries: int | None = TRIES
    least: int | None = None

    @property
    def needed(self) -> int:
        """Workers that must find room."""
        return self.workers if self.least is None else min(self.least, self.workers)


def run_jobs(
    make: Callable[[], Callable[[Any], Any]], jobs: Sequence[Any], workers: int, address: str | None = None
) -> Iterator[tuple[Any, Any]]:
    """Yield ``(job, result)`` as they finish: ``run_stages`` with one stage, or in this process."""
    for number, result in run_stages([Stage("jobs", make, workers)], jobs, address):
        yield jobs[number], result


def run_stages(
    stages: Sequence[Stage], items: Sequence[Any], address: str | None = None
) -> Iterator[tuple[int, Any]]:
    """Yield ``(item's number, last stage's result)`` as they finish; in this process if ``workers`` is 0.

    A ``DatagenError`` in ``make`` or a stage stops everything and is raised as it was. An item that
    ``tries`` workers of a stage died on is a ``WorkError``.
    """
    if not items:
        return
    if stages[0].workers == 0:
        with one_thread():
            functions = [stage.make() for stage in stages]
            for number, item in enumerate(items):
                for function in functions:
                    item = function(item)
                yield number, item
        return
    yield from _run_on_ray(stages, items, address)


@contextmanager
def one_thread() -> Iterator[None]:
    """As in every worker: threads split sums, and the last bits with them."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def stay_on_one_thread() -> None:
    """For this process's life. torch is not imported for it: a process that does without starts in half the time."""
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"  # read when torch is imported
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)


class _Worker:
    """What an actor runs: blocks of one row, whose value is pickled items. An error is a row too.

    Ray cannot carry an exception whose constructor takes more than its message, and an error while a
    model loads would look like a dead worker: so the stage's function is built on the first call.
    """

    def __init__(self, make: Callable[[], Callable[[Any], Any]]) -> None:
        stay_on_one_thread()
        self.make = make
        self.function: Callable[[Any], Any] | None = None

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        from ray import cloudpickle

        if batch["raised"][0]:
            return batch
        value, raised = b"", b""
        try:
            if self.function is None:
                self.function = self.make()
            items = cloudpickle.loads(batch["value"][0])
            value = cloudpickle.dumps([self.function(item) for item in items])
        except DatagenError as error:
            raised = packed_error(error)
        return {"first": batch["first"], "value": [value], "raised": [raised]}


def _run_on_ray(
    stages: Sequence[Stage], items: Sequence[Any], address: str | None
) -> Iterator[tuple[int, Any]]:
    workers = sum(stage.workers for stage in stages)
    # Rows of several items only where stages count their own deaths: Ray counts those of a row.
    probes = PROBE * workers if all(stage.tries is None for stage in stages) else 0
    with ray_session(workers, address, sum(stage.needed for stage in stages)):
        start, together = 0, 1
        while start < len(items):
            probing = bool(probes) and start == 0 and len(items) > probes + MANY
            some = items[start : start + (probes if probing else WINDOW * together)]
            times: list[float] = []
            for number, result in _window(stages, some, together, address is not None):
                if probing:
                    times.append(time.monotonic())
                yield start + number, result
            if probing:
                together = _together(times, workers)
            start += len(some)


def _together(times: Sequence[float], workers: int) -> int:
    """Items for a row, by when others were done; the first of those waited for the workers to start."""
    pace = (times[-1] - times[0]) * workers / (len(times) - 1)
    return max(1, min(TOGETHER, int(SECONDS / max(pace, 1e-6))))


def _window(
    stages: Sequence[Stage], items: Sequence[Any], together: int, may_grow: bool
) -> Iterator[tuple[int, Any]]:
    """One execution of Ray Data, ``together`` items a row."""
    import ray
    from ray import cloudpickle
    from ray.exceptions import RayError, RayTaskError

    context = ray.data.DataContext.get_current()
    logging.getLogger("ray.data").setLevel(
        logging.CRITICAL
    )  # after its import; what it logs is raised as well
    context.enable_progress_bars = False  # ours shows the stages, also where there is no terminal
    context.print_on_execution_start = False
    context.memory_usage_poll_interval_s = None  # a thread for each item, for statistics that nobody reads
    context.execution_no_progress_timeout_s = -1  # a slow shard, or a cluster that has yet to grow
    context.max_consecutive_actor_init_deaths = DEATHS_AT_START
    pools = sized(stages, ray.cluster_resources(), may_grow)
    rows = [
        {"first": first, "value": cloudpickle.dumps(list(items[first : first + together])), "raised": b""}
        for first in range(0, len(items), together)
    ]
    data = ray.data.from_items(rows, override_num_blocks=len(rows))
    warnings.filterwarnings("ignore", "`ray_remote_args`")  # it has no other way to bound retries
    for stage in pools:
        data = data.map_batches(
            _Worker,
            fn_constructor_args=(stage.make,),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(
                min_size=min(stage.needed, len(rows)), max_size=min(stage.workers, len(rows))
            ),
            num_cpus=CPUS,
            num_gpus=stage.gpus,
            **_retries(stage.tries),
        )
    results: Any = data.iter_batches(batch_size=None, prefetch_batches=0, batch_format="pyarrow")
    try:
        for batch in results:
            for row in batch.to_pylist():
                if row["raised"]:
                    raise raised_again(row["raised"])
                yield from enumerate(cloudpickle.loads(row["value"]), row["first"])
    except RayTaskError:
        raise  # a stage's own exception: a bug, and its traceback says where
    except RayError as error:
        why = str(error).strip().splitlines()[0]
        raise WorkError(f"a job killed its worker {TRIES} times: {why}") from error


def sized(stages: Sequence[Stage], has: dict[str, float], may_grow: bool) -> list[Stage]:
    """The stages with their GPUs settled. Raises ``InputError`` for more than a machine has.

    Ray would wait for the missing ones in silence; a cluster may grow them.
    """
    gpus = has.get("GPU", 0.0)
    out = [replace(s, gpus=float(gpus > 0)) if s.gpus is None else s for s in stages]
    for kind, want, there in (
        ("GPUs", sum(s.needed * (s.gpus or 0) for s in out), gpus),
        ("CPUs", sum(s.needed * CPUS for s in out), has.get("CPU", 0.0)),
    ):
        if want > there and not may_grow:
            asked = " and ".join(f"{s.needed} {s.name} worker{'s' * (s.needed > 1)}" for s in out)
            raise InputError(f"{asked} want {want:g} {kind} and this machine has {there:g}; ask for less")
    return out


def _retries(tries: int | None) -> dict[str, Any]:
    """Ray Data retries for ever by itself."""
    return {} if tries is None else {"max_restarts": -1, "max_task_retries": tries - 1}
