"""Chat models as prompt writers: the messages, the answers' schemas, bounded retries, the cache.

Every answer is a JSON object of a pydantic model whose schema the backend enforces (structured
output), so chatter around a prompt cannot get in; it is validated here all the same, since some
servers take a schema and ignore it. A backend only completes chats: ``server`` over HTTP, ``engine``
in process. Prompts are not asked for twice here (the loop that writes them does so, with another
wording); answers to questions are, ``RETRIES`` times.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict, ValidationError

from datagen.llm.base import BROKEN, Reply, WriteRequest
from datagen.llm.cache import AnswerCache, answered

MAX_TOKENS = 120
RETRIES = 2


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")  # strict mode of hosted servers demands it in the schema


class Prompt(_Answer):
    """A prompt for a picture."""

    prompt: str


class Plan(_Answer):
    """What a picture will show, worked out."""

    plan: str


class Answer(_Answer):
    """The answer to a question."""

    answer: str


@cache
def json_schema(schema: type[_Answer]) -> dict[str, Any]:
    """Made once: pydantic takes longer over it than over an answer."""
    return schema.model_json_schema()


@dataclass(frozen=True)
class Chat:
    """One chat to complete. ``messages`` are (role, content)."""

    messages: tuple[tuple[str, str], ...]
    schema: type[_Answer]
    seed: int
    temperature: float = 1.0
    max_tokens: int = MAX_TOKENS

    @property
    def turns(self) -> list[dict[str, str]]:
        return [{"role": role, "content": content} for role, content in self.messages]

    def key(self, model: str) -> str:
        """What identifies the answer: model, messages, schema and sampling."""
        parts = [
            model, self.messages, json_schema(self.schema), self.seed, self.temperature, self.max_tokens,
        ]  # fmt: skip
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


class Backend(Protocol):
    """What completes chats. ``name`` names the model, in the dataset and in the cache."""

    name: str

    def complete(self, chats: Sequence[Chat]) -> list[Reply]:
        """The raw content of each answer, or its cause. Raises ``WorkError`` when it cannot work at all."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class Begins(Protocol):
    """A backend that answers in the background: ``complete`` takes up what was begun."""

    ahead: int

    def begin(self, chats: Sequence[Chat]) -> None: ...


class ChatLLM:
    """A prompt writer on a chat backend. ``cache`` None asks everything anew."""

    def __init__(self, backend: Backend, cache: AnswerCache | None = None) -> None:
        self.name, self.backend, self.cache = backend.name, backend, cache
        self.identity = getattr(backend, "identity", backend.name)  # in the cache
        self.ahead, self.at_once = (backend.ahead, 1) if isinstance(backend, Begins) else (0, 0)

    def prefetch(self, requests: Sequence[WriteRequest]) -> None:
        """``base.Pooled``: nothing, where the backend works on one batch at a time."""
        if isinstance(self.backend, Begins):
            chats = {chat.key(self.identity): chat for chat in map(_request, requests)}
            known = self.cache.get(list(chats)) if self.cache else {}
            self.backend.begin([chat for key, chat in chats.items() if key not in known])

    def write(self, requests: Sequence[WriteRequest]) -> list[Reply]:
        return self._answers([_request(r) for r in requests])

    def ask(self, questions: Sequence[str]) -> list[str]:
        """An answer to each question; empty where none came in ``1 + RETRIES`` tries."""
        replies = [Reply("")] * len(questions)
        for attempt in range(1 + RETRIES):
            open_ = [i for i, reply in enumerate(replies) if not reply.text]
            asked = [
                Chat((("user", _question(questions[i])),), Answer, attempt, 0.7 if attempt else 0.0)
                for i in open_
            ]
            for i, reply in zip(open_, self._answers(asked) if asked else [], strict=True):
                replies[i] = reply
        return [reply.text for reply in replies]

    def close(self) -> None:
        """Free what the backend holds."""
        self.backend.close()

    def _answers(self, chats: Sequence[Chat]) -> list[Reply]:
        keys = [chat.key(self.identity) for chat in chats]
        asked = dict(zip(keys, chats, strict=True))
        replies = answered(self.cache, asked, self.backend.complete, _sound)
        return [_validated(replies[k], chat.schema) for k, chat in zip(keys, chats, strict=True)]


def _validated(reply: Reply, schema: type[_Answer]) -> Reply:
    """The schema's one field, or why there is none."""
    if reply.cause:
        return reply
    try:
        (value,) = schema.model_validate_json(reply.text).model_dump().values()
    except ValidationError:
        return Reply("", BROKEN)
    return Reply(value) if value.strip() else Reply("", "empty")


def _sound(chat: Chat, reply: Reply) -> bool:
    """Whether it is an answer. One that breaks the schema may be the server's fault, and mended."""
    return bool(reply.cause) or _validated(reply, chat.schema).cause != BROKEN


def _question(question: str) -> str:
    return f'{question}\nAnswer as JSON: {{"answer": "..."}}'


def _request(request: WriteRequest) -> Chat:
    """The chat that asks for one prompt, or plan, around the phrase."""
    examples = "\n".join(f"- {e}" for e in request.examples)
    style = f"\nExamples of style:\n{examples}" if examples else ""
    rules = "Use the given phrase word for word, exactly once."
    if request.kind == "prompt":
        rules += " Add no other object, number, colour, size or spatial word. At most 20 words."
    system = f'{request.guidance}\n{rules} Answer as JSON: {{"{request.kind}": "..."}}{style}'
    messages = (("system", system), ("user", f"Phrase: {request.phrase}"))
    return Chat(messages, Prompt if request.kind == "prompt" else Plan, request.seed % 2**31)
