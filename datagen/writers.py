"""Who writes the prompts: a writer in this process, or with ``--llm-workers N`` one in each of N, over Ray.

The same prompts come out either way: a request alone decides its reply, and the
loop that writes prompts goes through the replies in its own order. What is asked ahead and then not
needed, since its region has filled up, costs a call.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

from datagen.errors import DatagenError
from datagen.llm import load_llm, release_llms
from datagen.llm.base import LLM, Reply, WriteRequest
from datagen.pool import Pool

CHUNK = 32  # requests a call
AHEAD = 2  # calls a worker that should be under way


class Writers(NamedTuple):
    """How many processes write prompts (0: this one), with how many GPUs each, and on which Ray."""

    workers: int = 0
    gpus: float = 0.0
    address: str | None = None


@contextmanager
def opened(llm: str, writers: Writers) -> Iterator[LLM]:
    """The prompt writer for a while: the unified model wants its memory next."""
    if writers.workers:
        pooled = PooledLLM(llm, writers.workers, writers.gpus, writers.address)
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

    def __init__(self, name: str, workers: int, gpus: float = 0.0, address: str | None = None) -> None:
        self.pool, self.workers = Pool(partial(_Writer, name), workers, gpus, address), workers
        try:
            self.name, answers = self.pool.result(self.pool.submit("facts"))
        except DatagenError:
            self.pool.close()
            raise
        if answers:
            self.ask = self._ask
        self.ahead = AHEAD * CHUNK * workers
        self.due: dict[
            WriteRequest, tuple[Any, int]
        ] = {}  # the call that a request is in, and its place there

    def prefetch(self, requests: Sequence[WriteRequest]) -> None:
        for call, part in self._begin("write", [r for r in requests if r not in self.due]):
            self.due |= {request: (call, i) for i, request in enumerate(part)}

    def write(self, requests: Sequence[WriteRequest]) -> list[Reply]:
        self.prefetch(requests)
        places = [self.due[request] for request in requests]
        for request in requests:
            self.due.pop(request, None)
        done = {call: self.pool.result(call) for call in dict.fromkeys(call for call, _ in places)}
        return [done[call][i] for call, i in places]

    def _ask(self, questions: Sequence[str]) -> list[str]:
        calls = [call for call, _ in self._begin("ask", questions)]
        return [answer for call in calls for answer in self.pool.result(call)]

    def _begin(self, method: str, items: Sequence[Any]) -> list[tuple[Any, Sequence[Any]]]:
        size = min(CHUNK, max(1, -(-len(items) // self.workers)))
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
