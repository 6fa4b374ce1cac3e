"""One inference process: prompt, trace, the opening token, the picture, on one KV cache.

The model decides: after the end of its trace it either emits ``<|vision_start|>`` (transition
``model``) or anything else (``none``, or ``forced`` when the caller asked). Text is decoded for the
whole batch with per-row positions; the picture's denoising runs both guidance branches in one
batched pass over the cached text. Randomness is per row, from that row's seed.
The sampler itself is in ``flow.py``.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from torch import Tensor

from datagen.models.bagel.flow import guide, integrate, times
from datagen.models.bagel.layers import Room
from datagen.models.base import GenerationConfig, UnifiedSample
from datagen.models.sampling import choose
from datagen.sample import Transition

if TYPE_CHECKING:
    from datagen.models.bagel import BagelModel

Cache = list[tuple[Tensor, Tensor]]


@torch.inference_mode()
def generate(
    model: "BagelModel",
    prompts: Sequence[str],
    seeds: Sequence[int],
    config: GenerationConfig,
    traces: Sequence[str] | None = None,
) -> list[UnifiedSample]:
    """One candidate a prompt, all of them at once."""
    model.network.eval()
    device = model.network.vae2llm.weight.device
    rows = [torch.Generator().manual_seed(seed) for seed in seeds]
    text = _TextPass(model, device)
    thinks = config.trace != "none"
    contexts = [model.prompt_ids(prompt, thinks) for prompt in prompts]
    written: list[list[int]] = [[] for _ in prompts]
    opened = [False] * len(prompts)
    if config.trace == "none":
        text.read(contexts)
    elif config.trace == "given":
        assert traces is not None
        written = [[*model.tokenizer.encode(model.tagged(t)), model.tokenizer.eos] for t in traces]
        blocks = [[model.tokenizer.bos, *w] for w in written]
        logits = text.read([c + b for c, b in zip(contexts, blocks, strict=True)])
        opened = [int(x) == model.tokenizer.start_of_image for x in logits.argmax(-1)]
    else:
        logits = text.read([[*c, model.tokenizer.bos] for c in contexts])
        written, opened = text.write(logits, rows, config)
    ended = [config.trace == "none" or (bool(w) and w[-1] == model.tokenizer.eos) for w in written]
    forced = config.force or config.trace == "none"
    draws = [i for i, (o, e) in enumerate(zip(opened, ended, strict=True)) if o or (forced and e)]
    known = [(len(model.think_ids) if thinks else 0, len(contexts[i])) for i in draws]
    latents = _draw(model, text, draws, known, [rows[i] for i in draws], config) if draws else None
    samples = []
    for i, prompt in enumerate(prompts):
        image, latent = None, None
        if latents is not None and i in draws:
            latent = latents[draws.index(i)]
            pixels = model.decode_image(latent[None])[0]
            array = ((pixels + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0)
            image = Image.fromarray(array.cpu().numpy())
        transition: Transition = "model" if opened[i] else "forced" if image is not None else "none"
        ids = torch.tensor(written[i], dtype=torch.long)
        trace = model.tokenizer.decode(written[i]).strip()
        samples.append(UnifiedSample(prompt, trace, ids, image, latent, transition))
    return samples


class _TextPass:
    """The cached text of a batch: keys and values, which slots are real, and each row's length."""

    def __init__(self, model: "BagelModel", device: torch.device) -> None:
        self.model, self.network, self.device = model, model.network, device
        self.cache: Cache = []
        self.valid = torch.zeros(0, 0, dtype=torch.bool)  # [B, S]
        self.lengths = torch.zeros(0, dtype=torch.long)  # [B]

    def read(self, blocks: list[list[int]]) -> Tensor:
        """Prefill right-padded rows; returns the logits after each row's last token [B, V]."""
        n, longest = len(blocks), max(len(b) for b in blocks)
        pad = self.model.tokenizer.pad
        ids = torch.tensor([b + [pad] * (longest - len(b)) for b in blocks], device=self.device)
        self.lengths = torch.tensor([len(b) for b in blocks], device=self.device)
        self.valid = torch.arange(longest, device=self.device) < self.lengths[:, None]
        causal = torch.ones(longest, longest, dtype=torch.bool, device=self.device).tril()
        eye = torch.eye(longest, dtype=torch.bool, device=self.device)
        mask = ((causal & self.valid[:, None, :]) | eye)[:, None]
        positions = torch.arange(longest, device=self.device).expand(n, longest)
        hidden, _, self.cache = self.network.run(self.network.embed(ids), None, positions, mask)
        last = hidden[torch.arange(n, device=self.device), self.lengths - 1]
        return self.network.language_model.lm_head(last).float()

    def write(
        self, logits: Tensor, rows: list[torch.Generator], config: GenerationConfig
    ) -> tuple[list[list[int]], list[bool]]:
        """Sample each row's trace up to its end, and see whether the row then opens an image."""
        tok, n = self.model.tokenizer, len(rows)
        own = self.model.config
        limit = config.max_trace_tokens or own.max_trace_tokens
        temperature = own.temperature if config.temperature is None else config.temperature
        written: list[list[int]] = [[] for _ in range(n)]
        opened, done, ended = [False] * n, [False] * n, [False] * n
        for step in range(limit + 1):
            chosen = choose(logits, rows, done, temperature).tolist()
            for i, token in enumerate(chosen):
                if done[i]:
                    continue
                if ended[i]:  # the token after the end of the trace is the model's decision
                    opened[i] = token == tok.start_of_image
                    done[i] = True
                elif step == limit:
                    done[i] = True  # too long: cut off, never opened
                else:
                    written[i].append(token)
                    ended[i] = token == tok.eos
            if all(done):
                break
            live = torch.tensor([not d for d in done], device=self.device)
            fed = torch.tensor(chosen, device=self.device)
            logits = self._step(torch.where(live, fed, tok.pad), live)
        return written, opened

    def _step(self, ids: Tensor, live: Tensor) -> Tensor:
        self.valid = torch.cat([self.valid, live[:, None]], dim=1)
        mask = self.valid[:, None, None, :].clone()
        mask[..., -1] = True
        embedded = self.network.embed(ids[:, None])
        hidden, _, fresh = self.network.run(embedded, None, self.lengths[:, None], mask, self.cache)
        self.cache = [
            (torch.cat([k, fk], dim=2), torch.cat([v, fv], dim=2))
            for (k, v), (fk, fv) in zip(self.cache, fresh, strict=True)
        ]
        self.lengths = self.lengths + live.long()
        return self.network.language_model.lm_head(hidden[:, 0]).float()


def _draw(
    model: "BagelModel",
    text: _TextPass,
    draws: list[int],
    known: list[tuple[int, int]],
    rows: list[torch.Generator],
    config: GenerationConfig,
) -> Tensor:
    """Denoise [n, C, h, w] latents for rows ``draws`` on the cached text, guidance in the same batch.

    ``known``: for each drawn row, the cached tokens that the branch without the prompt may see (the
    thinking prompt), and those that the branch without the trace may see.
    """
    c, network, device = model.config, model.network, text.device
    scale = c.cfg if config.cfg is None else config.cfg
    n, tokens = len(draws), c.image_tokens
    index = torch.tensor(draws, device=device)
    seen, at = [text.valid[index]], [text.lengths[index]]
    slots = torch.arange(text.valid.shape[1], device=device)
    if scale != 1.0:  # text is causal, so a shorter context is the same cache seen up to an earlier slot
        for which in (0, 1) if c.cfg_img != 1.0 else (0,):
            limit = torch.tensor([k[which] for k in known], device=device)
            seen.append(seen[0] & (slots < limit[:, None]))
            at.append(limit)
    branches = len(seen)
    sees = torch.cat(seen)
    block = 2 + tokens
    cache = [
        Room.behind(k[index].repeat(branches, 1, 1, 1), v[index].repeat(branches, 1, 1, 1), block)
        for k, v in text.cache
    ]
    own = sees.new_ones(len(sees), block, block)
    mask = torch.cat([sees[:, None].expand(-1, block, -1), own], dim=2)[:, None]
    positions = torch.cat(at)[:, None].expand(-1, block)
    borders = network.embed(torch.tensor(network.border, device=device).expand(len(sees), 2))

    def velocity(x: Tensor, now: float) -> Tensor:
        use = branches if c.cfg_interval[0] < now <= c.cfg_interval[1] else 1
        count = n * use
        t = torch.full((count,), now, device=device)
        repeated = x.repeat(use, 1, 1)
        past = [Room(k[:count], v[:count]) for k, v in cache]
        gen = network.latent_tokens(repeated, t)
        _, hidden, _ = network.run(borders[:count], gen, positions[:count], mask[:count], past)
        assert hidden is not None
        v = network.velocity(hidden, repeated, t)
        if use == 1:
            return v
        split: list[Any] = [*v.split(n), None]
        return guide(split[0], split[1], scale, c.cfg_renorm, c.cfg_renorm_min, split[2], c.cfg_img)

    noise = torch.stack([torch.randn(tokens, c.patch_dim, generator=g) for g in rows]).to(device)
    at_times = times(config.steps or c.steps, c.timestep_shift)
    return network.unpatchify(integrate(velocity, noise, at_times))
