"""K seeds for each prompt: a group of candidates, each a trace and the image drawn after it.

Seeds belong to (recipe, prompt, k), never to a worker, so the same command makes the same
candidates on any number of machines.
"""

import io
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from datagen.models import latent
from datagen.models.base import GenerationConfig, UnifiedModel, UnifiedSample
from datagen.recipe import Recipe
from datagen.sample import Sample, content_id, content_seed
from datagen.traces import Trace

if TYPE_CHECKING:
    from PIL.Image import Image

BATCH = 64  # candidates a forward; part of the result's identity, through rounding


def png(image: "Image") -> bytes:
    """PNG bytes, the same for the same pixels."""
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def generate_candidates(
    prompts: Sequence[Sample],
    model: UnifiedModel,
    recipe: Recipe,
    traces: Sequence[Trace] | None = None,
    batch: int = BATCH,
) -> list[Sample]:
    """``recipe.candidates.k`` samples a prompt, in order. ``traces``: one a prompt, not self-written.

    A model that does not open its image is forced to, and the sample says so in ``transition``.
    """
    k = recipe.candidates.k
    config = GenerationConfig(
        trace="given" if traces is not None else "none" if recipe.trace == "none" else "self",
        force=True,
        cfg=recipe.candidates.cfg,
        steps=recipe.candidates.steps,
        temperature=recipe.candidates.temperature,
    )
    slots = [
        replace(
            prompt,
            id=content_id(prompt.group_id, i),
            candidate=i,
            seed=content_seed(recipe.name, prompt.prompt, i),
            model=model.name,
            trace_source=recipe.trace if traces is None else traces[n].source,
            trace=traces[n].text if traces is not None else "",
        )
        for n, prompt in enumerate(prompts)
        for i in range(k)
    ]
    codec: str = getattr(model, "codec_id", "")
    done: list[Sample] = []
    for start in range(0, len(slots), batch):
        part = slots[start : start + batch]
        made = model.generate(
            [s.prompt for s in part],
            [s.seed for s in part],
            config,
            [s.trace for s in part] if traces is not None else None,
        )
        done += [_filled(s, m, codec) for s, m in zip(part, made, strict=True)]
    return done


def _filled(slot: Sample, made: UnifiedSample, codec: str) -> Sample:
    shown = made.image_repr if codec else None  # pixels are the picture itself
    return replace(
        slot,
        trace=made.trace,
        image=png(made.image) if made.image else None,
        latent=None if shown is None else latent.pack(shown, codec),
        transition=made.transition,
    )
