"""What models that only draw share: the trace is somebody else's, and the image is always forced."""

from collections.abc import Sequence

from datagen.errors import ModelError
from datagen.models.base import GenerationConfig


def texts(
    name: str, prompts: Sequence[str], config: GenerationConfig, traces: Sequence[str] | None, template: str
) -> list[str]:
    """What each image is drawn from: the prompt, or ``template`` with the prompt and its trace in it.

    Raises ``ModelError`` when the model is asked to write the trace itself.
    """
    if config.trace == "none":
        return list(prompts)
    if traces is None or config.trace == "self":
        raise ModelError(
            f"model {name!r} only draws, so it cannot write a trace; "
            "give the recipe 'trace: llm' or 'none', and eval --no-trace"
        )
    if len(traces) != len(prompts):
        raise ModelError("trace='given' needs one trace a prompt")
    both = zip(prompts, traces, strict=True)
    return [template.replace("{prompt}", p).replace("{trace}", t) if t else p for p, t in both]
