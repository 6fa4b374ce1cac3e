"""Any OpenAI-compatible server: ``openai:MODEL@BASE_URL`` (vllm serve, SGLang, Ollama, hosted).

Structured output: the answer is a JSON object with one field, so chatter around the prompt cannot
get in. The key is read from ``OPENAI_API_KEY`` by the client and never stored.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from datagen.errors import InputError, WorkError
from datagen.llm.base import WriteRequest

PARALLEL = 16
MAX_TOKENS = 120


class Written(BaseModel):
    """What the model must answer."""

    model_config = ConfigDict(extra="forbid")  # strict mode of hosted servers demands it in the schema

    prompt: str


def messages(request: WriteRequest) -> list[dict[str, str]]:
    """The chat that asks for one prompt around the phrase."""
    examples = "\n".join(f"- {e}" for e in request.examples)
    system = (
        f"{request.guidance}\nUse the given phrase word for word, exactly once. Add no other object, number, "
        f'colour, size or spatial word. At most 20 words. Answer as JSON: {{"prompt": "..."}}\n'
        f"Examples of style:\n{examples}"
    )
    return [{"role": "system", "content": system}, {"role": "user", "content": f"Phrase: {request.phrase}"}]


class ServerLLM:
    def __init__(self, model: str, base_url: str | None, client: Any = None) -> None:
        self.name, self.model = f"openai:{model}", model
        if client is None:
            import openai

            client = openai.OpenAI(base_url=base_url, api_key=os.environ.get("OPENAI_API_KEY", "none"))
        self.client = client

    def write(self, requests: Sequence[WriteRequest]) -> list[str]:
        """An empty string for a refusal, a truncation or a schema break; raises when the server fails."""
        with ThreadPoolExecutor(PARALLEL) as pool:
            return list(pool.map(self._one, requests))

    def _one(self, request: WriteRequest) -> str:
        import openai

        schema = {"name": "written", "strict": True, "schema": Written.model_json_schema()}
        try:
            answer = self.client.chat.completions.create(
                model=self.model,
                messages=messages(request),
                max_tokens=MAX_TOKENS,
                temperature=1.0,
                seed=request.seed % 2**31,
                response_format={"type": "json_schema", "json_schema": schema},
            )
        except openai.OpenAIError as error:
            raise WorkError(f"LLM {self.name}: {str(error).splitlines()[0]}") from error
        choice = answer.choices[0]
        if choice.finish_reason == "length" or not choice.message.content:
            return ""
        return parse(choice.message.content)


def parse(content: str) -> str:
    """The prompt in a JSON answer, or an empty string if it breaks the schema."""
    try:
        return Written.model_validate_json(content).prompt
    except ValidationError:
        return ""


def load(model: str) -> ServerLLM:
    """``MODEL@BASE_URL``; without a URL the client's own default is used."""
    name, _, url = model.partition("@")
    if not name:
        raise InputError("LLM openai: name a model, as in openai:MODEL@http://HOST:8000/v1")
    return ServerLLM(name, url or None)
