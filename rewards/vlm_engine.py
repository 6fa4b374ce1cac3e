"""A VLM in vLLM in this process: ``vllm:Qwen/Qwen3-VL-8B-Instruct``.

Questions of one picture are submitted together with the picture first, and the engine's prefix cache
encodes it once. The answer is the distribution of the first token, its top 20.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from datagen.errors import InputError, ModelError
from rewards.vlm import TOP, from_top, groups
from rewards.vlm_server import content

if TYPE_CHECKING:
    from PIL.Image import Image


class EngineVLM:
    def __init__(self, model: str, **options: Any) -> None:
        try:
            import vllm
        except ImportError as error:
            raise ModelError("VLM vllm is not installed: pip install 'datagen[vllm]'") from error
        self.name = f"vllm:{model}"
        settings: dict[str, Any] = {
            "enable_prefix_caching": True,
            "max_logprobs": TOP,
            "limit_mm_per_prompt": {"image": 1},
        }
        self.engine = vllm.LLM(model=model, **(settings | options))
        self.sampling = vllm.SamplingParams(max_tokens=1, temperature=0.0, logprobs=TOP)

    def answer(
        self, images: "Sequence[Image | None]", questions: Sequence[str], expected: Sequence[str]
    ) -> list[float | None]:
        asked = [
            (image, question, rows)
            for image, by_question in groups(images, questions).values()
            for question, rows in by_question.items()
        ]
        chats = [[{"role": "user", "content": content(image, question)}] for image, question, _ in asked]
        out: list[float | None] = [None] * len(questions)
        answers = self.engine.chat(chats, self.sampling, use_tqdm=False)
        for (_, _, rows), answer in zip(asked, answers, strict=True):
            first = answer.outputs[0].logprobs[0]
            top = [(t.decoded_token or "", math.exp(t.logprob)) for t in first.values()]
            for i in rows:
                out[i] = from_top(top, expected[i])
        return out


def load(model: str) -> EngineVLM:
    if not model:
        raise InputError("VLM vllm: name a model, as in vllm:Qwen/Qwen3-VL-8B-Instruct")
    return EngineVLM(model)
