"""Ray Data, and only ``pool`` beside it knows Ray: items through stages, each a pool of processes.

A stage is a function of plain values; an actor builds it once and keeps its model loaded. Values travel
between stages by reference, in Ray's object store; the driver holds the first ones and the last ones.
Ray Data does the scheduling, the backpressure and the retries: a worker that dies is restarted, on
another node if its own is gone, and its items tried again; what a node took with it is computed anew.
``workers=0`` calls the same functions in this process, with identical results.

Actors ask for half a CPU, because pools that hold every CPU starve Ray's own tasks in silence. One
thread a process everywhere: it makes results equal, and for a small model on a CPU two such processes
are twice as fast as two threads.
"""

import logging
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from datagen.errors import DatagenError, InputError, WorkError

TRIES = 3
CPUS = 0.5
STORE = 2 * 2**30  # bytes of shared memory that a Ray of our own takes at most
WINDOW = 16_384  # items an execution: the driver holds a block for each, and makes them all before it begins
DEATHS_AT_START = 1000  # in a row, a pool; a node that goes takes starting workers with it


@dataclass(frozen=True)
class Stage:
    """``make()`` builds the stage's function, once a worker.

    ``gpus`` a worker; None is one where Ray has GPUs, and none elsewhere. ``tries`` None is for a
    function that counts its own deaths: Ray then retries for ever.
    """

    name: str
    make: Callable[[], Callable[[Any], Any]]
    workers: int = 1
    gpus: float | None = None
    tries: int | None = TRIES


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


def worker_id() -> str:
    """Of the Ray actor that asks, kept when it is restarted; empty outside of Ray."""
    import ray

    return ray.get_runtime_context().get_actor_id() or "" if ray.is_initialized() else ""


def node_id() -> str:
    """Of the Ray node that asks; empty outside of Ray."""
    import ray

    return ray.get_runtime_context().get_node_id() if ray.is_initialized() else ""


def node_is_alive(node: str) -> bool:
    """Whether Ray still has that node; True outside of Ray."""
    import ray

    return not ray.is_initialized() or any(n["NodeID"] == node and n["Alive"] for n in ray.nodes())


class _Worker:
    """What an actor runs: blocks of one row, the value pickled. An error is a row too.

    Ray cannot carry an exception whose constructor takes more than its message, and an error while a
    model loads would look like a dead worker: so the stage's function is built on the first call.
    """

    def __init__(self, make: Callable[[], Callable[[Any], Any]]) -> None:
        import torch

        torch.set_num_threads(1)
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
            value = cloudpickle.dumps(self.function(cloudpickle.loads(batch["value"][0])))
        except DatagenError as error:
            raised = packed_error(error)
        return {"number": batch["number"], "value": [value], "raised": [raised]}


@contextmanager
def ray_session(workers: int, address: str | None) -> Iterator[None]:
    """A Ray for the length of the ``with``: the one that runs, that of ``address``, or one of our own.

    Raises ``InputError`` when it cannot be reached.
    """
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # its processes' logs still have all
    import ray

    ours = not ray.is_initialized()
    if ours:
        local = {
            "num_cpus": workers,
            "object_store_memory": min(STORE, _memory() // 5),
        }
        try:
            ray.init(
                address=address,
                include_dashboard=False,
                log_to_driver=False,
                configure_logging=False,
                **({} if address else local),
            )
        except (ConnectionError, ValueError) as error:
            why = str(error).strip().splitlines()[0]
            raise InputError(f"Ray at {address or 'this machine'}: {why}") from error
    try:
        yield
    finally:
        if ours:
            ray.shutdown()


def _memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _run_on_ray(
    stages: Sequence[Stage], items: Sequence[Any], address: str | None
) -> Iterator[tuple[int, Any]]:
    with ray_session(sum(stage.workers for stage in stages), address):
        for start in range(0, len(items), WINDOW):
            for number, result in _window(stages, items[start : start + WINDOW], address is not None):
                yield start + number, result


def _window(stages: Sequence[Stage], items: Sequence[Any], may_grow: bool) -> Iterator[tuple[int, Any]]:
    """One execution of Ray Data."""
    import ray
    from ray import cloudpickle
    from ray.exceptions import RayError, RayTaskError

    context = ray.data.DataContext.get_current()
    logging.getLogger("ray.data").setLevel(
        logging.CRITICAL
    )  # after its import; what it logs is raised as well
    context.enable_progress_bars = False  # ours shows the stages, also where there is no terminal
    context.print_on_execution_start = False
    context.execution_no_progress_timeout_s = -1  # a slow shard, or a cluster that has yet to grow
    context.max_consecutive_actor_init_deaths = DEATHS_AT_START
    pools = _sized(stages, ray.cluster_resources(), may_grow)
    rows = [{"number": n, "value": cloudpickle.dumps(i), "raised": b""} for n, i in enumerate(items)]
    data = ray.data.from_items(rows, override_num_blocks=len(rows))
    warnings.filterwarnings("ignore", "`ray_remote_args`")  # it has no other way to bound retries
    for stage in pools:
        data = data.map_batches(
            _Worker,
            fn_constructor_args=(stage.make,),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=min(stage.workers, len(items))),
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
                yield row["number"], cloudpickle.loads(row["value"])
    except RayTaskError:
        raise  # a stage's own exception: a bug, and its traceback says where
    except RayError as error:
        why = str(error).strip().splitlines()[0]
        raise WorkError(f"a job killed its worker {TRIES} times: {why}") from error


def _sized(stages: Sequence[Stage], has: dict[str, float], may_grow: bool) -> list[Stage]:
    """The stages with their GPUs settled. Raises ``InputError`` for more than a machine has.

    Ray would wait for the missing ones in silence; a cluster may grow them.
    """
    gpus = has.get("GPU", 0.0)
    out = [replace(s, gpus=float(gpus > 0)) if s.gpus is None else s for s in stages]
    for kind, want, there in (
        ("GPUs", sum(s.workers * (s.gpus or 0) for s in out), gpus),
        ("CPUs", sum(s.workers * CPUS for s in out), has.get("CPU", 0.0)),
    ):
        if want > there and not may_grow:
            asked = " and ".join(f"{s.workers} {s.name} worker{'s' * (s.workers > 1)}" for s in out)
            raise InputError(f"{asked} want {want:g} {kind} and this machine has {there:g}; ask for less")
    return out


def _retries(tries: int | None) -> dict[str, Any]:
    """Ray Data retries for ever by itself."""
    return {} if tries is None else {"max_restarts": -1, "max_task_retries": tries - 1}


def packed_error(error: DatagenError) -> bytes:
    """For ``raised_again`` in another process, where its constructor's arguments are not known."""
    from ray import cloudpickle

    return cloudpickle.dumps((type(error), str(error), vars(error)))


def raised_again(packed: bytes) -> DatagenError:
    """The error as it was."""
    from ray import cloudpickle

    kind, message, fields = cloudpickle.loads(packed)
    error: DatagenError = kind.__new__(kind, message)
    error.__dict__.update(fields)
    return error
