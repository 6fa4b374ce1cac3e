"""A pool of Ray actors that answer calls, for work whose next item depends on earlier answers.

``workers`` streams items that are all known beforehand through Ray Data. Prompts are not: one that is refused
is asked for anew, in another wording. An actor that dies, or hangs and is ended, is replaced and what waited for
it called again; which actor answers changes nothing, as answers are put together in the order of the calls.
What waited is then called one by one, so that the call that kills is known, and given up after ``TRIES``
deaths. Left out: telling a death with its whole node from others, which ``journal`` does for items that
cost more.
"""

import faulthandler
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from datagen.cluster import CPUS, packed_error, raised_again, ray_session
from datagen.errors import DatagenError, WorkError
from datagen.workers import TRIES, Stage, sized, stay_on_one_thread

LOADING = 4 * 3600.0  # seconds until a worker that loads is taken for hung: a first start downloads
TIMEOUT = 600.0  # and one that answers, an item


class Killed(WorkError):
    """A call that killed ``TRIES`` workers."""


@dataclass(eq=False)
class Call:
    """A call that was begun: ``answer`` is Ray's reference to what comes back, ``value`` the caller's to keep."""

    method: str
    items: Sequence[Any]
    worker: int
    answer: Any = None
    deaths: int = 0
    reason: str = ""
    value: Any = None


class Pool:
    """``make()`` builds, once in each of ``workers`` processes, the object whose methods are called.

    ``gpus`` are of each worker; ``timeout`` seconds are for each item of a call, until its worker is taken for
    hung. Close it: the processes hold what they loaded.
    """

    def __init__(
        self,
        make: Callable[[], Any],
        workers: int,
        gpus: float = 0.0,
        address: str | None = None,
        timeout: float = TIMEOUT,
        loading: float = LOADING,
    ) -> None:
        self.make, self.gpus, self.timeout, self.loading = make, gpus, timeout, loading
        self.stack = ExitStack()
        self.stack.enter_context(ray_session(workers, address))
        import ray

        try:
            sized([Stage("prompt", make, workers, gpus)], ray.cluster_resources(), address is not None)
        except DatagenError:
            self.stack.close()
            raise
        self.actors = [self._actor() for _ in range(workers)]
        self.begun: list[list[Call]] = [[] for _ in self.actors]  # of each, in order, until ``result``
        self.calls = 0

    def submit(self, method: str, items: Sequence[Any] = ()) -> Call:
        """Begin a call, the workers in turn; ``result`` waits for it."""
        call = Call(method, items, self.calls % len(self.actors))
        self.calls += 1
        self._begin(call)
        return call

    def result(self, call: Call) -> Any:
        """What a call returned, or its ``DatagenError``. Raises ``Killed`` where it killed ``TRIES`` workers."""
        if call.deaths < TRIES and (died := self._death(call)):
            self._replace(call.worker, died)
        if call in self.begun[call.worker]:
            self.begun[call.worker].remove(call)
        if call.deaths >= TRIES:
            raise Killed(f"a call killed its worker {TRIES} times: {call.reason}")
        import ray

        value, error = ray.get(call.answer)
        if error is not None:
            raise raised_again(error)
        return value

    def close(self) -> None:
        import ray

        for actor in self.actors:
            ray.kill(actor)
        self.stack.close()

    def _actor(self) -> Any:
        import ray

        actor: Any = ray.remote(num_cpus=CPUS, num_gpus=self.gpus)(_Actor)
        return actor.remote(self.make, self.timeout, self.loading)

    def _begin(self, call: Call) -> None:
        self.begun[call.worker].append(call)
        call.answer = self.actors[call.worker].call.remote(call.method, call.items)

    def _death(self, call: Call) -> str:
        """Waits for a call; why its worker died, empty where it did not."""
        import ray
        from ray.exceptions import OutOfMemoryError, RayActorError

        try:
            ray.get(call.answer)
        except (RayActorError, OutOfMemoryError) as died:
            return str(died).strip().splitlines()[0]
        return ""

    def _replace(self, worker: int, reason: str) -> None:
        """A new process for one that died, which answers what is open one by one.

        The first without an answer is blamed, though the one behind it may be the killer and the answer have
        gone down with it: alone, an innocent one is answered.
        """
        self._renew(worker)
        calls, self.begun[worker] = self.begun[worker], []
        for call in calls:
            died = self._death(call)
            if died and reason:
                call.deaths, call.reason, reason = call.deaths + 1, reason, ""
            while died and call.deaths < TRIES:
                call.answer = self.actors[worker].call.remote(call.method, call.items)
                if died := self._death(call):
                    call.deaths, call.reason = call.deaths + 1, died
                    self._renew(worker)
            if call.deaths < TRIES:
                self.begun[worker].append(call)

    def _renew(self, worker: int) -> None:
        import ray

        ray.kill(self.actors[worker])  # if it is not quite dead, none of its calls is answered any more
        self.actors[worker] = self._actor()


class _Actor:
    """Builds its object on the first call, so that an error of loading is an answer and not a dead worker."""

    def __init__(self, make: Callable[[], Any], timeout: float, loading: float) -> None:
        stay_on_one_thread()
        self.make, self.timeout, self.loading = make, timeout, loading
        self.object: Any = None

    def call(self, method: str, items: Sequence[Any]) -> tuple[Any, bytes | None]:
        try:
            if self.object is None:
                self._clock(self.loading)
                self.object = self.make()
            self._clock(self.timeout * max(1, len(items)))
            return getattr(self.object, method)(*([items] if items else [])), None
        except DatagenError as error:
            return None, packed_error(error)
        finally:
            faulthandler.cancel_dump_traceback_later()

    @staticmethod
    def _clock(seconds: float) -> None:
        """End the process when it takes longer, from a C thread that needs no interpreter lock."""
        faulthandler.dump_traceback_later(seconds, exit=True, file=2)
