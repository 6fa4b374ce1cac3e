"""The Ray that workers live in: joined or started, who asks, and errors that come through it as they were.

Only ``workers`` and ``pool`` beside it know Ray. Actors ask for half a CPU, because pools that hold every CPU
starve Ray's own tasks in silence.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

from datagen.errors import DatagenError, InputError

CPUS = 0.5  # of a worker
STORE = 2 * 2**30  # bytes of shared memory that a Ray of our own takes at most


@contextmanager
def ray_session(workers: int, address: str | None, needed: int | None = None) -> Iterator[None]:
    """A Ray for the length of the ``with``: this process's, that of ``address`` or ``RAY_ADDRESS``, or our own.

    A Ray that happens to run on this machine is not joined: it may be another's, or a dying one.
    ``needed`` of the ``workers`` must find room. Raises ``InputError`` when Ray cannot be reached, and when this
    machine has too few processors: Ray would believe any number.
    """
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # its processes' logs still have all
    logging.getLogger("ray._private.authentication").setLevel(logging.ERROR)  # that it is safe by default
    import ray

    ours = not ray.is_initialized()
    address = address or os.environ.get("RAY_ADDRESS")
    if ours:
        cores, needed = os.cpu_count() or 1, workers if needed is None else needed
        if not address and needed * CPUS > cores:
            raise InputError(
                f"{needed} workers want {needed * CPUS:g} CPUs and this machine has {cores}; ask for less"
            )
        local = {
            "num_cpus": min(workers, max(needed, cores)),
            "object_store_memory": min(STORE, _memory() // 5),
        }
        try:
            ray.init(
                address=address or "local",
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
