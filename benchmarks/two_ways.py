"""One candidate of a BAGEL in the two ways that ``benchmarks.bagel`` times: in a batched pass, and as upstream.

Upstream's ``interleave_inference``: a trace is written, read again behind its prompt, and the picture drawn by
one pass a step and, inside the guidance interval, a second one. Written here on the bare network, apart from
``datagen.models.bagel.generate``, so that the two ways hold each other to the same picture.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from datagen.models.bagel import BagelModel
from datagen.models.bagel.flow import guide, integrate, times
from datagen.models.base import GenerationConfig, UnifiedSample

WORDS = "a red circle and two blue stars on a plain background, planned from left to right in simple words"


@contextmanager
def ending(model: BagelModel, tokens: int) -> Iterator[None]:
    """The text head ends the traces that are written in the ``with`` after ``tokens`` tokens, and not before."""
    said = 0

    def end(head: nn.Module, inputs: Any, logits: Tensor) -> Tensor:
        nonlocal said
        said += 1
        eos = torch.tensor([model.tokenizer.eos], device=logits.device)
        return logits.index_fill(-1, eos, torch.inf if said == tokens else -torch.inf)

    hook = model.network.language_model.lm_head.register_forward_hook(end)
    try:
        yield
    finally:
        hook.remove()


def one_pass(model: BagelModel, batch: int, config: GenerationConfig) -> list[UnifiedSample]:
    with ending(model, config.max_trace_tokens or 1):
        return model.generate([WORDS] * batch, list(range(batch)), config)


@torch.inference_mode()
def upstream_way(
    model: BagelModel, seed: int, config: GenerationConfig, trace: Tensor | None = None
) -> Tensor:
    """The latent [1, C, h, w] of one candidate as upstream's inferencer makes it; ``trace``: not written anew."""
    network, c = model.network, model.config
    device = network.vae2llm.weight.device
    if trace is None:
        with ending(model, config.max_trace_tokens or 1):
            trace = model.generate([WORDS], [seed], replace(config, force=False))[0].trace_ids
    ids = torch.tensor([[*model.prompt_ids(WORDS), model.tokenizer.bos, *trace.tolist()]], device=device)
    length = ids.shape[1]
    causal = torch.ones(1, 1, length, length, dtype=torch.bool, device=device).tril()
    _, _, cache = network.run(network.embed(ids), None, torch.arange(length, device=device)[None], causal)

    def branch(context: int) -> Callable[[Tensor, float], Tensor]:
        """The velocity after the first ``context`` tokens, by a pass of its own."""
        past = [(k[:, :, :context], v[:, :, :context]) for k, v in cache]
        block = c.image_tokens + 2
        mask = torch.ones(1, 1, block, context + block, dtype=torch.bool, device=device)
        positions = torch.full((1, block), context, device=device)
        borders = network.embed(torch.tensor([network.border], device=device))

        def velocity(x: Tensor, now: float) -> Tensor:
            t = torch.full((1,), now, device=device)
            _, hidden, _ = network.run(borders, network.latent_tokens(x, t), positions, mask, past)
            assert hidden is not None
            return network.velocity(hidden, x, t)

        return velocity

    conditional, unconditional = branch(length), branch(len(model.think_ids))

    def guided(x: Tensor, now: float) -> Tensor:
        v = conditional(x, now)
        if not c.cfg_interval[0] < now <= c.cfg_interval[1]:
            return v
        return guide(v, unconditional(x, now), c.cfg, c.cfg_renorm, c.cfg_renorm_min)

    noise = torch.randn(c.image_tokens, c.patch_dim, generator=torch.Generator().manual_seed(seed))
    patches = integrate(guided, noise[None].to(device), times(config.steps or c.steps, c.timestep_shift))
    latent = network.unpatchify(patches)
    model.decode_image(latent)
    return latent


def apart(ours: UnifiedSample, theirs: Tensor) -> float:
    """How far two latents are from each other, over the norm of one."""
    assert ours.image is not None and ours.image_repr is not None, "no picture was drawn"
    return float((ours.image_repr - theirs[0]).norm() / theirs.norm())
