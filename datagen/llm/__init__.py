"""The table of prompt writers, and ``load_llm``. Names are ``backend`` or ``backend:model``."""

from datagen.errors import UnknownName
from datagen.llm.base import LLM
from datagen.registry import resolve

LLMS: dict[str, str] = {
    "smollm2": "datagen.llm.smollm:load",  # embedded SmolLM2-135M, on the CPU
    "template": "datagen.llm.template:load",  # no LLM
    "openai": "datagen.llm.server:load",  # openai:MODEL@BASE_URL, any compatible server
    "vllm": "datagen.llm.engine:load",  # vllm:MODEL, in process
}
_loaded: dict[str, LLM] = {}


def load_llm(name: str) -> LLM:
    """The writer called ``name``, loaded once a process; the backend gets what follows the first colon.

    Raises ``UnknownName`` with the valid names.
    """
    backend, _, model = name.partition(":")
    if backend not in LLMS:
        raise UnknownName("LLM", name, LLMS)
    if name not in _loaded:
        _loaded[name] = resolve("LLM", backend, LLMS)(model)
    return _loaded[name]


def release_llms() -> None:
    """Let go of every writer that was loaded, and of the memory it holds."""
    for llm in _loaded.values():
        if close := getattr(llm, "close", None):
            close()
    _loaded.clear()
