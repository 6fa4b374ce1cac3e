"""A pool of Ray actors that answer calls, for work whose next item depends on earlier answers.

``workers`` streams items that are all known beforehand through Ray Data. Prompts are not: one that is refused
is asked for anew, in another wording. Ray restarts an actor that dies and calls it again; which actor
answers changes nothing, as answers are put together in the order of the calls.
"""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from datagen.errors import DatagenError, WorkError
from datagen.workers import CPUS, TRIES, packed_error, raised_again, ray_session


class Pool:
    """``make()`` builds, once in each of ``workers`` processes, the object whose methods are called.

    ``gpus`` are of each worker. Close it: the processes hold what they loaded.
    """

    def __init__(
        self, make: Callable[[], Any], workers: int, gpus: float = 0.0, address: str | None = None
    ) -> None:
        self.stack = ExitStack()
        self.stack.enter_context(ray_session(workers, address))
        import ray

        options = {
            "num_cpus": CPUS, "num_gpus": gpus, "max_restarts": -1, "max_task_retries": TRIES - 1,
        }  # fmt: skip
        actor: Any = ray.remote(**options)(_Actor)
        self.actors = [actor.remote(make) for _ in range(workers)]
        self.calls = 0

    def submit(self, method: str, *arguments: Any) -> Any:
        """Begin a call, the workers in turn; ``result`` waits for it."""
        actor = self.actors[self.calls % len(self.actors)]
        self.calls += 1
        return actor.call.remote(method, arguments)

    def result(self, call: Any) -> Any:
        """What a call returned, or its ``DatagenError``. Raises ``WorkError`` where it killed ``TRIES`` workers."""
        import ray
        from ray.exceptions import RayActorError

        try:
            value, error = ray.get(call)
        except RayActorError as died:
            why = str(died).strip().splitlines()[0]
            raise WorkError(f"a call killed its worker {TRIES} times: {why}") from died
        if error is not None:
            raise raised_again(error)
        return value

    def close(self) -> None:
        import ray

        for actor in self.actors:
            ray.kill(actor)
        self.stack.close()


class _Actor:
    """Builds its object on the first call, so that an error of loading is an answer and not a dead worker."""

    def __init__(self, make: Callable[[], Any]) -> None:
        import torch

        torch.set_num_threads(1)
        self.make, self.object = make, None

    def call(self, method: str, arguments: tuple[Any, ...]) -> tuple[Any, bytes | None]:
        try:
            if self.object is None:
                self.object = self.make()
            return getattr(self.object, method)(*arguments), None
        except DatagenError as error:
            return None, packed_error(error)
