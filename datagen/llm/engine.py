"""vLLM in this process: ``vllm:MODEL``, with options as in ``vllm:Qwen/Qwen3-8B?tensor_parallel=2``.

Batched, structured output by JSON schema. vLLM's own seeds make a request's text independent of its
batch up to the kernels' rounding.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from datagen.errors import InputError, ModelError
from datagen.llm.base import CUT_OFF, REFUSED, Reply
from datagen.llm.cache import default_cache
from datagen.llm.chat import Chat, ChatLLM, json_schema
from datagen.models.options import apply, split


@dataclass(frozen=True)
class EngineSettings:
    """Options of the name. ``tensor_parallel``: GPUs; ``memory``: the share of each that vLLM may take."""

    tensor_parallel: int = 1
    context: int = 4096
    memory: float = 0.9
    dtype: str = "auto"


class Engine:
    """A model in vLLM's offline engine. Raises ``ModelError`` when it is not installed or does not load."""

    def __init__(self, model: str, settings: EngineSettings) -> None:
        try:
            import vllm
        except ImportError as error:
            raise ModelError("LLM vllm is not installed: pip install 'datagen[vllm]'") from error
        self.name, self.vllm = f"vllm:{model}", vllm
        try:
            self.engine = vllm.LLM(
                model=model,
                tensor_parallel_size=settings.tensor_parallel,
                max_model_len=settings.context,
                gpu_memory_utilization=settings.memory,
                dtype=settings.dtype,
                enable_prefix_caching=True,  # a recipe's guidance and examples are the same for all prompts
            )
        except (OSError, RuntimeError, ValueError) as error:
            raise ModelError(f"LLM {self.name}: {str(error).strip().splitlines()[0]}") from error

    def complete(self, chats: Sequence[Chat]) -> list[Reply]:
        sampling = [self._sampling(c) for c in chats]
        outputs = self.engine.chat([c.turns for c in chats], sampling, use_tqdm=False)
        return [_reply(o.outputs[0]) for o in outputs]

    def close(self) -> None:
        """Stop the engine's own process: the unified model wants the GPU's memory next."""
        self.engine.llm_engine.engine_core.shutdown()

    def _sampling(self, chat: Chat) -> Any:
        from vllm.sampling_params import StructuredOutputsParams

        return self.vllm.SamplingParams(
            temperature=chat.temperature,
            max_tokens=chat.max_tokens,
            seed=chat.seed,
            structured_outputs=StructuredOutputsParams(json=json_schema(chat.schema)),
        )


def _reply(output: Any) -> Reply:
    if output.finish_reason == "length":
        return Reply("", CUT_OFF)
    return Reply(output.text) if output.finish_reason == "stop" and output.text else Reply("", REFUSED)


def load(model: str) -> ChatLLM:
    name, options = split(model)
    if not name:
        raise InputError("LLM vllm: name a model, as in vllm:Qwen/Qwen3-4B")
    return ChatLLM(Engine(name, apply(EngineSettings(), options, f"LLM vllm:{name}")), default_cache())
