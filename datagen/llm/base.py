"""The protocol of a prompt writer, what it is asked, and what it gives back.

A request carries the phrase that must survive word for word (it holds count, colour, object and
relation); the LLM writes what is around it. What a backend returns is never trusted: the caller
parses it back.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, runtime_checkable

REFUSED, CUT_OFF, BROKEN = "refused by the LLM", "cut off", "breaks the schema"
DEADLY = "killed its writers"


@dataclass(frozen=True)
class WriteRequest:
    """One prompt, or plan of a picture, to write.

    The same request gives the same text, whatever else is in the batch.
    """

    phrase: str
    guidance: str = ""
    examples: tuple[str, ...] = ()
    seed: int = 0
    kind: Literal["prompt", "plan"] = "prompt"


class Reply(NamedTuple):
    """What one request gave: a text, or an empty one and the cause."""

    text: str
    cause: str = ""


class LLM(Protocol):
    """A prompt writer. ``name`` is recorded in the dataset."""

    name: str

    def write(self, requests: Sequence[WriteRequest]) -> list[Reply]:
        """One reply a request, in order."""
        ...


@runtime_checkable
class Pooled(Protocol):
    """An LLM that can begin on requests before they are due."""

    ahead: int  # requests that should be under way, so that no worker waits
    at_once: int  # requests that are best begun together

    def prefetch(self, requests: Sequence[WriteRequest]) -> None:
        """Begin; a later ``write`` of an equal request gets this reply."""
        ...
