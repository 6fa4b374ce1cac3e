"""A VLM behind any OpenAI-compatible server: ``openai:MODEL@BASE_URL`` (vllm serve, SGLang, hosted).

One request a question, those of one picture together and the picture first, so that the server's
prefix cache encodes it once. The answer is the distribution of the first token, from ``top_logprobs``.
The key is read from ``OPENAI_API_KEY`` by the client and never stored.
"""

import base64
import io
import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from datagen.errors import InputError, ModelError
from rewards.vlm import TOP, from_top, groups

if TYPE_CHECKING:
    from PIL.Image import Image

PARALLEL = 16


def content(image: "Image | None", question: str) -> list[dict[str, Any]]:
    """The user's message: the picture as a data URL, then the question."""
    text = {"type": "text", "text": question}
    if image is None:
        return [text]
    out = io.BytesIO()
    image.save(out, "PNG")
    url = f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"
    return [{"type": "image_url", "image_url": {"url": url}}, text]


class ServerVLM:
    def __init__(self, model: str, base_url: str | None, client: Any = None) -> None:
        self.name, self.model = f"openai:{model}", model
        if client is None:
            try:
                import openai
            except ImportError as error:
                raise ModelError("VLM openai is not installed: pip install 'datagen[openai]'") from error
            client = openai.OpenAI(base_url=base_url, api_key=os.environ.get("OPENAI_API_KEY", "none"))
        self.client = client

    def answer(
        self, images: "Sequence[Image | None]", questions: Sequence[str], expected: Sequence[str]
    ) -> list[float | None]:
        asked = [
            (image, question, rows)
            for image, by_question in groups(images, questions).values()
            for question, rows in by_question.items()
        ]
        out: list[float | None] = [None] * len(questions)
        with ThreadPoolExecutor(PARALLEL) as pool:
            for (_, _, rows), top in zip(
                asked, pool.map(lambda a: self._one(a[0], a[1]), asked), strict=True
            ):
                for i in rows:
                    out[i] = from_top(top, expected[i]) if top is not None else None
        return out

    def _one(self, image: "Image | None", question: str) -> list[tuple[str, float]] | None:
        """(token, probability) of the likeliest first tokens; None for a request the server refuses."""
        import openai

        try:
            answer = self.client.chat.completions.create(
                model=self.model,
                messages=[{"role": "user", "content": content(image, question)}],
                max_tokens=1,
                temperature=0.0,
                logprobs=True,
                top_logprobs=TOP,
            )
        except openai.BadRequestError:  # this picture or question: the others may still be judged
            return None
        except openai.OpenAIError as error:
            raise ModelError(f"VLM {self.name}: {str(error).splitlines()[0]}") from error
        logprobs = answer.choices[0].logprobs if answer.choices else None
        if logprobs is None or not logprobs.content:
            raise ModelError(f"VLM {self.name}: the server gives no log probabilities")
        return [(t.token, math.exp(t.logprob)) for t in logprobs.content[0].top_logprobs]


def load(model: str) -> ServerVLM:
    """``MODEL@BASE_URL``; without a URL the client's own default is used."""
    name, _, url = model.partition("@")
    if not name:
        raise InputError("VLM openai: name a model, as in openai:MODEL@http://HOST:8000/v1")
    return ServerVLM(name, url or None)
