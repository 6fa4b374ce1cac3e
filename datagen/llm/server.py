"""Any OpenAI-compatible server: ``openai:MODEL@BASE_URL`` (vllm serve, SGLang, Ollama, hosted).

The client retries what is worth it (429, 5xx, lost connections), with back-off. The key is read from
``OPENAI_API_KEY`` by the client and never stored.
"""

import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from datagen.errors import InputError, ModelError, WorkError
from datagen.llm.base import CUT_OFF, REFUSED, Reply
from datagen.llm.cache import default_cache
from datagen.llm.chat import Chat, ChatLLM, json_schema

PARALLEL = 64  # requests on their way; a server batches them as they come
RETRIES = 5  # of the client; with its back-off about half a minute
URL = "openai:MODEL@http://HOST:8000/v1"


class Server:
    """``model`` behind ``base_url``; None is the client's own default.

    What ``begin`` is given is on its way while the caller works on what came back before.
    """

    ahead = 2 * PARALLEL

    def __init__(self, model: str, base_url: str | None, client: Any = None) -> None:
        self.name, self.model = f"openai:{model}", model
        self.identity = (
            f"{self.name}@{base_url}" if base_url else self.name
        )  # servers differ in what they call so
        if client is None:
            try:
                import openai
            except ImportError as error:
                raise ModelError("LLM openai is not installed: pip install 'datagen[openai]'") from error
            key = os.environ.get("OPENAI_API_KEY")
            if not key and base_url is None:
                raise InputError(f"LLM {self.name}: set OPENAI_API_KEY, or name your own server: {URL}")
            client = openai.OpenAI(base_url=base_url, api_key=key or "none", max_retries=RETRIES)
        self.client = client
        self.threads = ThreadPoolExecutor(PARALLEL)
        self.begun: dict[str, Future[Reply]] = {}

    def begin(self, chats: Sequence[Chat]) -> None:
        for chat in chats:
            key = chat.key(self.name)
            if key not in self.begun:
                self.begun[key] = self.threads.submit(self._one, chat)

    def complete(self, chats: Sequence[Chat]) -> list[Reply]:
        self.begin(chats)
        keys = [chat.key(self.name) for chat in chats]
        replies = {key: self.begun.pop(key).result() for key in dict.fromkeys(keys)}
        return [replies[key] for key in keys]

    def close(self) -> None:
        self.threads.shutdown(cancel_futures=True)
        self.client.close()

    def _one(self, chat: Chat) -> Reply:
        import openai

        schema = {"name": chat.schema.__name__, "strict": True, "schema": json_schema(chat.schema)}
        try:
            answer = self.client.chat.completions.create(
                model=self.model,
                messages=chat.turns,
                max_tokens=chat.max_tokens,
                temperature=chat.temperature,
                seed=chat.seed,
                response_format={"type": "json_schema", "json_schema": schema},
            )
        except openai.OpenAIError as error:
            raise WorkError(f"LLM {self.name}: {self._why(error)}") from error
        choices = getattr(answer, "choices", None)
        if not choices:
            raise WorkError(
                f"LLM {self.name}: {self.client.base_url} answers with no choice; does its address end in /v1?"
            )
        choice = choices[0]
        if choice.finish_reason == "content_filter" or getattr(choice.message, "refusal", None):
            return Reply("", REFUSED)
        if choice.finish_reason == "length":
            return Reply("", CUT_OFF)
        return Reply(choice.message.content or "", "" if choice.message.content else REFUSED)

    def _why(self, error: Exception) -> str:
        """One line that says what to do."""
        import openai

        first = str(error).splitlines()[0]
        if isinstance(error, openai.APIConnectionError):
            return f"no answer from {self.client.base_url}; is the server running?"
        if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
            return f"the server refuses the key in OPENAI_API_KEY ({first})"
        if isinstance(error, openai.NotFoundError):
            return f"the server has no model {self.model!r} ({first})"
        if isinstance(error, openai.RateLimitError):
            return f"still over the rate limit after {RETRIES} tries; what was answered is kept ({first})"
        return first


def load(model: str) -> ChatLLM:
    """``MODEL@BASE_URL``; without a URL the client's own default is used."""
    name, _, url = model.partition("@")
    if not name:
        raise InputError(f"LLM openai: name a model, as in {URL}")
    return ChatLLM(Server(name, url or None), default_cache())
