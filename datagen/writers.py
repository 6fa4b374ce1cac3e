"""Who writes the prompts: a writer in this process, or with ``--llm-workers N`` one in each of N, over Ray.

The same prompts come out either way: a request alone decides its reply, and the
loop that writes prompts goes through the replies in its own order. What is asked ahead and then not
needed, since its region has filled up, costs a call. A request that kills its writers is found, by asking for
each of its call alone, and refused like any other bad reply.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

from datagen.errors import DatagenError, WorkError
from datagen.llm import load_llm, release_llms
from datagen.llm.base import DEADLY, LLM, Reply, WriteRequest
from datagen.pool import TIMEOUT, Call, Killed, Pool

BATCH = 32  # requests a call
AHEAD = 2  # calls a worker that should be under way
LOST, LOST_AT_LEAST = 0.05, 16  # requests that may kill their writers; beyond, the cause is elsewhere


class Writers(NamedTuple):
    """How many processes write prompts (0: this one), with how many GPUs each, and on which Ray.

    ``batch`` requests are handed to one at a time; ``timeout`` seconds each may take.
    """

    workers: int = 0
    gpus: float = 0.0
    address: str | None = None
    batch: int = BATCH
    timeout: float = TIMEOUT


@contextmanager
def opened(llm: str, writers: Writers) -> Iterator[LLM]:
    """The prompt writer for a while: the unified model wants its memory next."""
    if writers.workers:
        pooled = PooledLLM(llm, *writers)
        try:
            yield pooled
        finally:
            pooled.close()
        return
    try:
        yield load_llm(llm)
    finally:
        release_llms()


class PooledLLM:
    """``base.LLM`` and ``base.Pooled``; it answers questions (``ask``) where its writers do."""

    def __init__(
        self,
        name: str,
        workers: int,
        gpus: float = 0.0,
        address: str | None = None,
        batch: int = BATCH,
        timeout: float = TIMEOUT,
    ) -> None:
        self.pool = Pool(partial(_Writer, name), workers, gpus, address, timeout)
        self.workers, self.batch = workers, batch
        try:
            self.name, answers = self.pool.result(self.pool.submit("facts"))
        except DatagenError:
            self.pool.close()
            raise
        if answers:
            self.ask = self._ask
        self.at_once, self.ahead = batch * workers, AHEAD * batch * workers
        self.asked, self.lost = 0, 0
        # The call that a request is in, and its place there.
        self.due: dict[WriteRequest, tuple[Call, int]] = {}

    def prefetch(self, requests: Sequence[WriteRequest]) -> None:
        for call, part in self._begin("write", [r for r in requests if r not in self.due]):
            self.due |= {request: (call, i) for i, request in enumerate(part)}

    def write(self, requests: Sequence[WriteRequest]) -> list[Reply]:
        self.prefetch(requests)
        places = [self.due[request] for request in requests]
        for request in requests:
            self.due.pop(request, None)
        done = {
            call: self._result(call, Reply("", DEADLY)) for call in dict.fromkeys(call for call, _ in places)
        }
        return [done[call][i] for call, i in places]

    def _ask(self, questions: Sequence[str]) -> list[str]:
        calls = [call for call, _ in self._begin("ask", questions)]
        return [answer for call in calls for answer in self._result(call, "")]

    def _result(self, call: Call, instead: Any) -> list[Any]:
        """What a call gave; ``instead`` for those of its items that killed their workers."""
        if call.value is None:
            call.value = self._waited(call, instead)
        return call.value

    def _waited(self, call: Call, instead: Any) -> list[Any]:
        try:
            return self.pool.result(call)
        except Killed:
            if len(call.items) == 1:
                self.lost += 1
                if self.lost > max(LOST_AT_LEAST, LOST * self.asked):
                    raise WorkError(
                        f"{self.lost} of {self.asked} requests killed their writers, so it is not the requests: "
                        f"{call.reason}"
                    ) from None
                return [instead]
        alone = [self.pool.submit(call.method, [item]) for item in call.items]
        return [answer for one in alone for answer in self._result(one, instead)]

    def _begin(self, method: str, items: Sequence[Any]) -> list[tuple[Call, Sequence[Any]]]:
        self.asked += len(items)
        size = min(self.batch, max(1, -(-len(items) // self.workers)))
        parts = [items[i : i + size] for i in range(0, len(items), size)]
        return [(self.pool.submit(method, part), part) for part in parts]

    def close(self) -> None:
        self.pool.close()


class _Writer:
    """What a worker holds."""

    def __init__(self, name: str) -> None:
        self.llm: LLM = load_llm(name)

    def facts(self) -> tuple[str, bool]:
        return self.llm.name, hasattr(self.llm, "ask")

    def write(self, requests: Sequence[WriteRequest]) -> list[Reply]:
        return self.llm.write(requests)

    def ask(self, questions: Sequence[str]) -> list[str]:
        return self.llm.ask(questions)  # type: ignore[attr-defined]  # ``facts`` told that it can
