"""A vLLM-Omni server as the renderer of a rollout: ``vllm-omni:http://HOST:8000``.

The server (``vllm serve MODEL --omni``, in an environment of its own) draws with a forced transition
whatever model it serves; the trace comes from the LLM and is part of the prompt. Spoken is the image
generation API that it documents: POST /v1/images/generations. Left out: training, which is done on the
same checkpoint with another model of the table, and the chat endpoint.
"""

import base64
import binascii
import io
import json
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
from PIL import Image

from datagen.errors import InputError, ModelError
from datagen.models import options
from datagen.models.base import Example, GenerationConfig, UnifiedBatch, UnifiedLoss, UnifiedSample
from datagen.models.drawing import texts

BUSY = (429, 502, 503, 504)  # worth another try: the engine starts, or its queue is full


@dataclass(frozen=True)
class OmniSettings:
    """``model`` empty is what the server serves; ``cfg`` and ``steps`` 0 are that model's own."""

    image_size: int = 1024
    model: str = ""
    negative: str = ""
    cfg: float = 0.0
    steps: int = 0
    template: str = "{prompt}\n{trace}"
    parallel: int = 8
    tries: int = 6
    wait: float = 1.0  # seconds before the second try; doubled each time
    timeout: float = 600.0


class OmniRenderer:
    """A ``UnifiedModel`` that draws and cannot be trained."""

    def __init__(self, url: str, settings: OmniSettings) -> None:
        self.settings, self.name = settings, f"vllm-omni:{url}"
        self.endpoint = f"{url.rstrip('/').removesuffix('/v1')}/v1/images/generations"

    def generate(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        config: GenerationConfig,
        traces: Sequence[str] | None = None,
    ) -> list[UnifiedSample]:
        """One image a prompt, ``parallel`` requests at a time; the server batches them."""
        drawn = texts(self.name, prompts, config, traces, self.settings.template)
        with ThreadPoolExecutor(self.settings.parallel) as pool:
            images = list(pool.map(lambda text, seed: self._draw(text, seed, config), drawn, seeds))
        said = list(traces) if traces is not None and config.trace == "given" else [""] * len(prompts)
        none = torch.zeros(0, dtype=torch.long)
        return [
            UnifiedSample(prompt, trace, none, image, None, "forced")
            for prompt, trace, image in zip(prompts, said, images, strict=True)
        ]

    def request(self, text: str, seed: int, config: GenerationConfig) -> dict[str, Any]:
        """The documented body; what is not set is left to the served model."""
        s = self.settings
        body: dict[str, Any] = {
            "prompt": text,
            "n": 1,
            "size": f"{s.image_size}x{s.image_size}",
            "seed": seed % 2**31,
            "response_format": "b64_json",
        }
        scale = (s.cfg or None) if config.cfg is None else config.cfg
        optional = {
            "model": s.model or None,
            "negative_prompt": s.negative or None,
            "guidance_scale": scale,
            "num_inference_steps": config.steps or s.steps or None,
        }
        return body | {k: v for k, v in optional.items() if v is not None}

    def _draw(self, text: str, seed: int, config: GenerationConfig) -> Image.Image:
        answer = self._post(self.request(text, seed, config))
        try:
            content = base64.b64decode(answer["data"][0]["b64_json"], validate=True)
            return Image.open(io.BytesIO(content)).convert("RGB")
        except (KeyError, IndexError, TypeError, binascii.Error, OSError) as error:
            raise ModelError(f"{self.endpoint}: the answer holds no image: {error!r}") from error

    def _post(self, body: dict[str, Any]) -> Any:
        data, wait = json.dumps(body).encode(), self.settings.wait
        for left in reversed(range(self.settings.tries)):
            request = urllib.request.Request(self.endpoint, data, {"Content-Type": "application/json"})
            try:
                with urllib.request.urlopen(request, timeout=self.settings.timeout) as answer:
                    return json.loads(answer.read())
            except urllib.error.HTTPError as error:
                if error.code not in BUSY or not left:
                    raise ModelError(f"{self.endpoint}: {error.code}: {detail(error)}") from error
            except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
                if not left:
                    why = getattr(error, "reason", error)
                    raise ModelError(f"{self.endpoint}: the server cannot be reached: {why}") from error
            except ValueError as error:
                raise ModelError(f"{self.endpoint}: the answer is not JSON: {error}") from error
            time.sleep(wait)
            wait *= 2
        raise ModelError(f"{self.endpoint}: tries is {self.settings.tries}; valid: 1 or more")

    def _untrainable(self) -> NoReturn:
        raise ModelError(
            f"model {self.name!r} is a server: it draws, and is trained as another model of the table"
        )

    def collate(self, examples: Sequence[Example]) -> UnifiedBatch:
        self._untrainable()

    def losses(self, batch: UnifiedBatch, generator: torch.Generator | None = None) -> UnifiedLoss:
        self._untrainable()

    def encode_image(self, pixels: torch.Tensor) -> torch.Tensor:
        self._untrainable()

    def decode_image(self, representation: torch.Tensor) -> torch.Tensor:
        self._untrainable()

    def save(self, folder: str) -> None:
        self._untrainable()

    @property
    def module(self) -> torch.nn.Module:
        self._untrainable()


def detail(error: urllib.error.HTTPError) -> str:
    """The server's own words, on one line."""
    text = error.read().decode(errors="replace")
    with suppress(ValueError, AttributeError):  # not the documented form: say it as it came
        text = json.loads(text).get("detail", text)
    return " ".join(str(text).split())[:300]


def load(name: str, device: str = "cpu", **chosen: Any) -> OmniRenderer:
    """``name`` is the server's URL; ``chosen`` are fields of ``OmniSettings``. Nothing runs here."""
    if not name.startswith(("http://", "https://")):
        raise InputError("model vllm-omni: name a server, as in vllm-omni:http://HOST:8000")
    return OmniRenderer(name, options.apply(OmniSettings(), chosen, "model 'vllm-omni'"))
