"""vLLM in this process: ``vllm:MODEL``. Batched, structured output by JSON schema.

vLLM's own seeds make a request's text independent of its batch up to the kernels' rounding.
"""

from collections.abc import Sequence
from typing import Any

from datagen.errors import InputError, ModelError
from datagen.llm.base import WriteRequest
from datagen.llm.server import MAX_TOKENS, Written, messages, parse


class EngineLLM:
    def __init__(self, model: str) -> None:
        try:
            import vllm
        except ImportError as error:
            raise ModelError("LLM vllm is not installed: pip install 'datagen[vllm]'") from error
        self.name, self.vllm = f"vllm:{model}", vllm
        self.engine = vllm.LLM(model=model)

    def write(self, requests: Sequence[WriteRequest]) -> list[str]:
        """An empty string where the answer was cut off or breaks the schema."""
        outputs = self.engine.chat(
            [messages(r) for r in requests], [self._sampling(r) for r in requests], use_tqdm=False
        )
        return [parse(o.outputs[0].text) if o.outputs[0].finish_reason == "stop" else "" for o in outputs]

    def _sampling(self, request: WriteRequest) -> Any:
        from vllm.sampling_params import StructuredOutputsParams

        return self.vllm.SamplingParams(
            temperature=1.0,
            max_tokens=MAX_TOKENS,
            seed=request.seed % 2**31,
            structured_outputs=StructuredOutputsParams(json=Written.model_json_schema()),
        )


def load(model: str) -> EngineLLM:
    if not model:
        raise InputError("LLM vllm: name a model, as in vllm:Qwen/Qwen3-4B")
    return EngineLLM(model)
