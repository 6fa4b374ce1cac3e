"""Traces that the model does not write itself: from a template or from an LLM.

A template's trace is a drawn layout where the target is a scene of shapes, and else its plan in words,
with every hint worked out. ``self`` is the default and happens inside the model's own generation, so
it is not here.
"""

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from datagen.errors import InputError
from datagen.llm.base import LLM, WriteRequest
from datagen.prompts import phrase
from datagen.sample import Sample, Target, content_seed
from datagen.scenes.layout import format_layout, layout_for, layout_satisfies, parse_layout
from datagen.scenes.vocabulary import SHAPES
from datagen.targets import VOCABULARIES

ATTEMPTS = 20_000  # a target that was asked for gets its layout, however seldom that comes out by chance


class Trace(NamedTuple):
    """A trace and who wrote it: ``llm`` or ``template``."""

    text: str
    source: str


def write_traces(samples: Sequence[Sample], source: str, llm: LLM) -> list[Trace]:
    """One trace a prompt. Raises ``InputError`` for a source that is not ``llm`` or ``template``.

    What an LLM wrote is kept only if it is a layout that satisfies the target; a trace with words
    around the layout would be judged wrong whatever it says, so the template's stands in, and says so.
    """
    seeds = [content_seed("trace", s.recipe, s.prompt) for s in samples]
    layouts = [template_trace(s.target, seed) for s, seed in zip(samples, seeds, strict=True)]
    if source == "template":
        return [Trace(layout, "template") for layout in layouts]
    if source != "llm":
        raise InputError(f"trace source {source!r} is not written here; valid: llm, template")
    requests = [
        WriteRequest(layout, f"Write a short plan for the picture {s.prompt!r}.", (), seed, "plan")
        for s, layout, seed in zip(samples, layouts, seeds, strict=True)
    ]
    written = [_plain(reply.text, sample) for reply, sample in zip(llm.write(requests), samples, strict=True)]
    return [
        Trace(text, "llm") if _holds(text, s) else Trace(layout, "template")
        for text, s, layout in zip(written, samples, layouts, strict=True)
    ]


def _plain(text: str, sample: Sample) -> str:
    """A layout as the model itself writes it, or nothing; a plan in words is left as it is.

    Case matters to a tokenizer: the model that learns from ``k one e two`` forgets to spell in capitals.
    """
    if not _drawn(sample.target):
        return text.strip()
    placed = parse_layout(text.strip().rstrip(".").lower())
    return format_layout(placed) if placed else ""


def template_trace(target: Target, seed: int) -> str:
    """A layout that satisfies ``target``, or the words of what it stands for.

    Raises ``InputError`` where no layout does: ten objects, or one both above and below another.
    """
    if _drawn(target):
        try:
            return format_layout(layout_for(target, random.Random(seed), ATTEMPTS))
        except ValueError as error:
            raise InputError(f"{error}, so there is no template's trace of it; valid: trace: self") from error
    answered = replace(target, facts=())
    return f"The picture shows {phrase(answered, VOCABULARIES['coco'])}."


def _drawn(target: Target) -> bool:
    return all(c.cls in SHAPES for c in target.include) and not (target.style or target.setting)


def _holds(trace: str, sample: Sample) -> bool:
    if not _drawn(sample.target):
        return phrase(replace(sample.target, facts=()), VOCABULARIES["coco"]).lower() in trace.lower()
    placed = parse_layout(trace)
    return placed is not None and layout_satisfies(placed, sample.target)[0]
