"""The protocol of a prompt writer, and what it is asked.

A request carries the phrase that must survive word for word (it holds count, colour, object and
relation); the LLM writes what is around it. What a backend returns is never trusted: the caller
parses it back.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class WriteRequest:
    """One prompt to write. The same request gives the same text, whatever else is in the batch."""

    phrase: str
    guidance: str = ""
    examples: tuple[str, ...] = ()
    seed: int = 0


class LLM(Protocol):
    """A prompt writer. ``name`` is recorded in the dataset."""

    name: str

    def write(self, requests: Sequence[WriteRequest]) -> list[str]:
        """One prompt a request, in order; an empty string where the model refused or broke off."""
        ...
