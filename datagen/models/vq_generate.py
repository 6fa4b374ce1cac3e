"""One pass for models that draw token by token: prompt, trace, the opening token, the codes.

transformers' ``generate`` starts Janus's image from a prompt that already opens it, so the loop is
ours: the text head until the BOI, then the code head, on one cache. Guidance needs a second cache,
of the text it leads away from; from then on both run as one batch. Rows of different lengths keep
their own positions, and randomness is per row, from that row's seed.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from datagen.models.base import GenerationConfig, UnifiedSample
from datagen.models.sampling import choose
from datagen.sample import Transition

if TYPE_CHECKING:
    from datagen.models.vq import VQModel


@torch.no_grad()  # not inference mode: transformers keeps tensors it makes here, and trains on them
def generate(
    model: "VQModel",
    prompts: Sequence[str],
    seeds: Sequence[int],
    config: GenerationConfig,
    traces: Sequence[str] | None = None,
) -> list[UnifiedSample]:
    """One candidate a prompt, all of them at once."""
    model.network.eval()
    rows = [torch.Generator().manual_seed(seed) for seed in seeds]
    thinks = config.trace != "none"
    contexts = [model.prompt_ids(prompt, thinks) for prompt in prompts]
    written: list[list[int]] = [[] for _ in prompts]
    ended, opened = [True] * len(prompts), [False] * len(prompts)
    text = _Pass(model)
    if config.trace == "self":
        written, ended, opened = _write(text, text.read(contexts), rows, config)
    else:
        if config.trace == "given":
            assert traces is not None
            written = [model.trace_ids(t) for t in traces]
        logits = text.read([c + w for c, w in zip(contexts, written, strict=True)])
        if thinks:
            opened = [int(token) == model.boi for token in logits.argmax(-1)]
    forced = config.force or not thinks
    draws = [i for i, (o, e) in enumerate(zip(opened, ended, strict=True)) if o or (forced and e)]
    codes = _draw(text, draws, [rows[i] for i in draws], config) if draws else None
    samples = []
    for i, prompt in enumerate(prompts):
        image, representation = None, None
        if codes is not None and i in draws:
            representation = codes[draws.index(i)].cpu()
            pixels = model.decode_image(codes[draws.index(i)][None])[0]
            array = ((pixels.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0)
            image = Image.fromarray(array.cpu().numpy())
        transition: Transition = "model" if opened[i] else "forced" if image is not None else "none"
        trace = model.tokenizer.decode(written[i], skip_special_tokens=True).strip()
        end = [model.boi if opened[i] else model.eos] if thinks and ended[i] else []
        ids = torch.tensor([*written[i], *end], dtype=torch.long)
        samples.append(UnifiedSample(prompt, trace, ids, image, representation, transition))
    return samples


class _Pass:
    """The cached tokens of a batch: the cache, which of its slots are real, and each row's length."""

    def __init__(self, model: "VQModel") -> None:
        from transformers import DynamicCache

        self.model, self.device = model, model.device
        self.cache: Any = DynamicCache()
        self.valid = torch.zeros(0, 0, dtype=torch.bool)  # [B, S]
        self.lengths = torch.zeros(0, dtype=torch.long)  # [B]

    def read(self, blocks: list[list[int]]) -> Tensor:
        """Prefill right-padded rows; the text logits after each row's last token [B, V]."""
        longest = max(len(b) for b in blocks)
        ids = torch.tensor([b + [self.model.pad] * (longest - len(b)) for b in blocks], device=self.device)
        self.lengths = torch.tensor([len(b) for b in blocks], device=self.device)
        self.valid = torch.arange(longest, device=self.device) < self.lengths[:, None]
        positions = torch.arange(longest, device=self.device).expand(len(blocks), -1)
        hidden = self._run(self.embed(ids), positions)
        return self.text_logits(hidden[torch.arange(len(blocks), device=self.device), self.lengths - 1])

    def step(self, embedded: Tensor, live: Tensor) -> Tensor:
        """One token a row, [B, 1, d]; rows that are not live keep their length. Hidden states [B, d]."""
        self.valid = torch.cat([self.valid, live[:, None]], dim=1)
        hidden = self._run(embedded, self.lengths[:, None])
        self.lengths = self.lengths + live.long()
        return hidden[:, 0]

    def _run(self, embedded: Tensor, positions: Tensor) -> Tensor:
        out = self.model.decoder(
            inputs_embeds=embedded,
            attention_mask=self.valid.long(),
            position_ids=positions,
            past_key_values=self.cache,
            use_cache=True,
        )
        self.cache = out.past_key_values
        return out.last_hidden_state

    def embed(self, ids: Tensor) -> Tensor:
        return self.model.network.get_input_embeddings()(ids)

    def text_logits(self, hidden: Tensor) -> Tensor:
        logits = self.model.network.lm_head(hidden).float()
        banned = self.model.banned()
        return logits if banned is None else logits.index_fill(1, banned.to(self.device), -torch.inf)

    def only(self, rows: Tensor) -> "_Pass":
        """The rows ``rows`` of this pass."""
        out = _Pass(self.model)
        out.valid, out.lengths = self.valid[rows], self.lengths[rows]
        for i, layer in enumerate(self.cache.layers):
            out.cache.update(layer.keys[rows], layer.values[rows], i)
        return out

    def above(self, other: "_Pass") -> "_Pass":
        """This pass and ``other`` under it, as one pass."""
        out = _Pass(self.model)
        longest = max(self.valid.shape[1], other.valid.shape[1])

        def fit(x: Tensor, dim: int) -> Tensor:  # empty slots go in front, where nothing sees them
            pad = [0, 0] * (x.ndim - 1 - dim) + [longest - x.shape[dim], 0]
            return F.pad(x, pad)

        out.valid = torch.cat([fit(self.valid, 1), fit(other.valid, 1)])
        out.lengths = torch.cat([self.lengths, other.lengths])
        for i, (a, b) in enumerate(zip(self.cache.layers, other.cache.layers, strict=True)):
            keys = torch.cat([fit(a.keys, 2), fit(b.keys, 2)])
            values = torch.cat([fit(a.values, 2), fit(b.values, 2)])
            out.cache.update(keys, values, i)
        return out


def _write(
    text: _Pass, logits: Tensor, rows: list[torch.Generator], config: GenerationConfig
) -> tuple[list[list[int]], list[bool], list[bool]]:
    """Sample each row's trace; whether it ended within the limit, and whether by opening an image."""
    model, n = text.model, len(rows)
    own = model.settings
    limit = config.max_trace_tokens or own.max_trace_tokens
    temperature = own.temperature if config.temperature is None else config.temperature
    written: list[list[int]] = [[] for _ in range(n)]
    ended, opened, done = [False] * n, [False] * n, [False] * n
    for step in range(limit + 1):
        chosen = choose(logits, rows, done, temperature).tolist()
        for i, token in enumerate(chosen):
            if done[i]:
                continue
            ended[i], opened[i] = token in (model.boi, model.eos), token == model.boi
            done[i] = ended[i] or step == limit  # too long: cut off, never opened
            if not done[i]:
                written[i].append(token)
        if all(done):
            break
        live = torch.tensor([not d for d in done], device=text.device)
        fed = torch.where(live, torch.tensor(chosen, device=text.device), model.pad)
        logits = text.text_logits(text.step(text.embed(fed[:, None]), live))
    return written, ended, opened


def _draw(text: _Pass, draws: list[int], rows: list[torch.Generator], config: GenerationConfig) -> Tensor:
    """Codes [n, N] for the rows ``draws``, on the cached text, with guidance in the same batch."""
    model, n = text.model, len(draws)
    scale = model.settings.cfg if config.cfg is None else config.cfg
    guided = scale != 1.0
    both = text.only(torch.tensor(draws, device=text.device))
    if guided:
        other = _Pass(model)
        other.read([model.unconditional(int(length)) for length in both.lengths])
        both = both.above(other)
    live = torch.ones(len(both.valid), dtype=torch.bool, device=text.device)
    block = model.block()
    codes: list[Tensor] = []
    for token, following in pairwise(block):
        if token is None:
            embedded = model.embed_codes(codes[-1][:, None]).repeat(2 if guided else 1, 1, 1)
        else:
            embedded = both.embed(torch.full((len(live), 1), token, device=text.device))
        hidden = both.step(embedded, live)
        if following is not None:
            continue
        logits = model.code_logits(hidden).float()
        if guided:
            logits = logits[n:] + scale * (logits[:n] - logits[n:])
        s = model.settings
        codes.append(choose(logits, rows, [False] * n, s.code_temperature, s.top_k))
    return torch.stack(codes, dim=1)
