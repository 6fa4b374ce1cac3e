"""Models that look at a picture and answer: the protocol, the table, and how an answer is scored.

Names are as for LLMs: ``transformers:MODEL``, ``vllm:MODEL``, ``openai:MODEL@BASE_URL``. What counts is
the probability of the *expected* answer as the next words (VQAScore, Lin et al. 2024), with its
capitalisations added up; it is not divided by the other answers, so a model that says neither yes
nor no is not taken to agree.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from datagen.errors import UnknownName
from datagen.registry import resolve

if TYPE_CHECKING:
    from PIL.Image import Image

TOP = 20  # logprobs that servers give at most
NEGLIGIBLE = 0.01  # an answer missing from the top is 0 if the last one there is under this
VLMS: dict[str, str] = {
    "transformers": "rewards.vlm_transformers:load",  # in this process; an image is encoded once
    "vllm": "rewards.vlm_engine:load",  # in this process, continuous batching and prefix cache
    "openai": "rewards.vlm_server:load",  # openai:MODEL@BASE_URL, any compatible server
}


class Answers(Protocol):
    """What looks and answers. A ``UnifiedModel`` with this method can judge its own pictures."""

    def answer(
        self, images: "Sequence[Image | None]", questions: Sequence[str], expected: Sequence[str]
    ) -> Sequence[float | None]:
        """The probability of each expected answer to its question about its image.

        An image of None asks about the question's own words. None: it could not be told.
        """
        ...


def load_vlm(name: str) -> Answers:
    """The backend and model called ``name``. Raises ``UnknownName`` with the valid backends."""
    backend, _, model = name.partition(":")
    if backend not in VLMS:
        raise UnknownName("VLM", name, [f"{b}:MODEL" for b in VLMS])
    return resolve("VLM", backend, VLMS)(model)


def spellings(answer: str) -> list[str]:
    """An answer as models write it: as given, lower case, capitalised."""
    word = answer.strip()
    return sorted({word, word.lower(), word.capitalize()})


def from_top(top: Sequence[tuple[str, float]], expected: str) -> float | None:
    """P(expected) from the likeliest (token, probability) pairs of the next token.

    None where the list cannot tell: the answer's first piece is there but not the whole, or the list
    was cut while its last entry was still likely.
    """
    wanted = expected.strip().casefold()
    pieces = [(token.strip().casefold(), p) for token, p in top]
    total = sum(p for token, p in pieces if token == wanted)
    if total > 0:
        return min(total, 1.0)
    if any(token and wanted.startswith(token) and p > NEGLIGIBLE for token, p in pieces):
        return None
    last = min((p for _, p in pieces), default=1.0)
    return 0.0 if last < NEGLIGIBLE or len(pieces) < TOP else None


def groups(
    images: "Sequence[Image | None]", questions: Sequence[str]
) -> "dict[int, tuple[Image | None, dict[str, list[int]]]]":
    """Rows by picture (the same object), then by question: ``{key: (image, {question: [row]})}``."""
    out: dict[int, tuple[Image | None, dict[str, list[int]]]] = {}
    for row, (image, question) in enumerate(zip(images, questions, strict=True)):
        _, asked = out.setdefault(id(image), (image, {}))
        asked.setdefault(question, []).append(row)
    return out
