"""One inference process against two, and the refined prompt alone: ``benchmarks.study`` asks here.

Two stages are what a model that does not open its image needs: a pass that writes the trace, then another that
reads prompt and trace again and is made to draw. ``cost`` times both. ``refined`` is a model whose pictures see
only what it wrote, not the prompt: the trace is given to it as the prompt of a second pass without thinking.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from datagen.models import load_model
from datagen.models.base import GenerationConfig, UnifiedModel, UnifiedSample
from datagen.sample import content_seed


class Refined:
    """``model``, whose pictures are drawn from its own trace instead of the prompt."""

    def __init__(self, model: UnifiedModel) -> None:
        self.model, self.name = model, f"{model.name}, refined prompt"

    def generate(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        config: GenerationConfig,
        traces: Sequence[str] | None = None,
    ) -> list[UnifiedSample]:
        wrote = self.model.generate(prompts, seeds, replace(config, trace="self", steps=1))
        drawn = self.model.generate([w.trace for w in wrote], seeds, replace(config, trace="none"))
        return [replace(d, prompt=p, trace=w.trace) for p, w, d in zip(prompts, wrote, drawn, strict=True)]


def refined(name: str, device: str, model: str = "pocket") -> Refined:
    """As ``--model 'benchmarks.two_stages:refined?model=FOLDER'``."""
    return Refined(load_model(model, device))


def cost(trained: str, prompts: Sequence[str], rounds: int = 3) -> dict[str, Any]:
    """Seconds of both ways on one batch, the least of ``rounds``, and the share of images the model opened.

    Whether the pictures are the same is not asked: a trace that is given is not sampled, so that the noise
    behind it, of the same seed, is another.
    """
    one, base = load_model(trained), load_model("pocket")
    seeds = [content_seed("two stages", p) for p in prompts]
    alone = GenerationConfig()
    times: dict[str, list[float]] = {"one pass": [], "two stages": []}
    for _ in range(rounds):
        began = time.perf_counter()
        whole = one.generate(prompts, seeds, alone)
        times["one pass"].append(time.perf_counter() - began)
        began = time.perf_counter()
        wrote = base.generate(prompts, seeds, alone)  # it does not open an image: only the text is made
        base.generate(prompts, seeds, replace(alone, trace="given", force=True), [w.trace for w in wrote])
        times["two stages"].append(time.perf_counter() - began)
    return {
        "images": len(prompts),
        "seconds": {name: min(some) for name, some in times.items()},
        "opened": {"one pass": _opened(whole), "two stages": _opened(wrote)},
    }


def _opened(samples: Sequence[UnifiedSample]) -> float:
    return sum(s.transition == "model" for s in samples) / len(samples)
