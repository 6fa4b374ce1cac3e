"""Traces that the model does not write itself: from a template (a drawn layout) or from an LLM.

``self`` is the default and happens inside the model's own generation, so it is not here.
"""

import random
from collections.abc import Sequence

from datagen.errors import InputError
from datagen.llm.base import LLM, WriteRequest
from datagen.sample import Sample, content_seed
from datagen.scenes.layout import format_layout, layout_for, layout_satisfies, parse_layout


def write_traces(samples: Sequence[Sample], source: str, llm: LLM) -> list[str]:
    """One trace a prompt. Raises ``InputError`` for a source that is not ``llm`` or ``template``.

    What an LLM wrote is kept only if it is a layout that satisfies the target; a trace with words
    around the layout would be judged wrong whatever it says, so the drawn layout stands in.
    """
    seeds = [content_seed("trace", s.recipe, s.prompt) for s in samples]
    layouts = [
        format_layout(layout_for(s.target, random.Random(seed)))
        for s, seed in zip(samples, seeds, strict=True)
    ]
    if source == "template":
        return layouts
    if source != "llm":
        raise InputError(f"trace source {source!r} is not written here; valid: llm, template")
    requests = [
        WriteRequest(layout, f"Write a short plan for the picture {s.prompt!r}.", (), seed)
        for s, layout, seed in zip(samples, layouts, seeds, strict=True)
    ]
    written = [text.strip().rstrip(".").lower() for text in llm.write(requests)]
    return [
        text if _holds(text, s) else layout for text, s, layout in zip(written, samples, layouts, strict=True)
    ]


def _holds(trace: str, sample: Sample) -> bool:
    placed = parse_layout(trace)
    return placed is not None and layout_satisfies(placed, sample.target)[0]
