"""How BAGEL looks at images: a SigLIP tower, a connector, and the probability of an answer.

The tower takes pictures of any size as rows of patches, with SigLIP's learned positions and no pooling
head (ByteDance-Seed/Bagel ``siglip_navit.py``, ``rope=False``); names are upstream's. Pictures of one
size go through together, those of another size after them. It is frozen: nothing here trains.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from datagen.errors import ModelError
from datagen.models.bagel.config import BagelConfig

if TYPE_CHECKING:
    from datagen.models.bagel import BagelModel

MIN_SIDE = 224  # upstream's limits of what the tower is shown, in pixels
MAX_PIXELS = 14 * 14 * 9 * 1024
EPS = 1e-6


class VisionAttention(nn.Module):
    def __init__(self, size: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj = nn.Linear(size, size), nn.Linear(size, size)
        self.v_proj, self.out_proj = nn.Linear(size, size), nn.Linear(size, size)

    def forward(self, x: Tensor) -> Tensor:
        def heads(y: Tensor) -> Tensor:
            return y.unflatten(-1, (self.heads, -1)).transpose(1, 2)

        q, k, v = heads(self.q_proj(x)), heads(self.k_proj(x)), heads(self.v_proj(x))
        return self.out_proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class VisionMLP(nn.Module):
    """Two linear layers with SigLIP's GELU; also the shape of the connector."""

    def __init__(self, size: int, inner: int, out: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(size, inner), nn.Linear(inner, out)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x), approximate="tanh"))


class VisionLayer(nn.Module):
    def __init__(self, c: BagelConfig) -> None:
        super().__init__()
        self.layer_norm1 = nn.LayerNorm(c.vit_hidden_size, eps=EPS)
        self.self_attn = VisionAttention(c.vit_hidden_size, c.vit_heads)
        self.layer_norm2 = nn.LayerNorm(c.vit_hidden_size, eps=EPS)
        self.mlp = VisionMLP(c.vit_hidden_size, c.vit_intermediate_size, c.vit_hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.self_attn(self.layer_norm1(x))
        return x + self.mlp(self.layer_norm2(x))


class VisionEmbeddings(nn.Module):
    def __init__(self, c: BagelConfig) -> None:
        super().__init__()
        self.patch_embedding = nn.Linear(3 * c.vit_patch_size**2, c.vit_hidden_size)
        self.position_embedding = nn.Embedding(c.vit_side**2, c.vit_hidden_size)


class VisionEncoder(nn.Module):
    def __init__(self, c: BagelConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(VisionLayer(c) for _ in range(c.vit_layers))


class VisionTransformer(nn.Module):
    def __init__(self, c: BagelConfig) -> None:
        super().__init__()
        self.embeddings, self.encoder = VisionEmbeddings(c), VisionEncoder(c)
        self.post_layernorm = nn.LayerNorm(c.vit_hidden_size, eps=EPS)

    def forward(self, patches: Tensor, ids: Tensor) -> Tensor:
        x = self.embeddings.patch_embedding(patches) + self.embeddings.position_embedding(ids)
        for layer in self.encoder.layers:
            x = layer(x)
        return self.post_layernorm(x)


class VisionModel(nn.Module):
    """Patches [B, N, 3 p p] at positions ``ids`` [N] to features [B, N, vit_hidden]."""

    def __init__(self, c: BagelConfig) -> None:
        super().__init__()
        self.vision_model = VisionTransformer(c)

    def forward(self, patches: Tensor, ids: Tensor) -> Tensor:
        return self.vision_model(patches, ids)


class Connector(VisionMLP):
    """Tower features to the decoder's width."""

    def __init__(self, c: BagelConfig) -> None:
        super().__init__(c.vit_hidden_size, c.hidden_size, c.hidden_size)


def viewed_size(width: int, height: int, c: BagelConfig) -> tuple[int, int]:
    """The size a picture is shown to the tower in: upstream's limits, whole patches."""
    p, limit = c.vit_patch_size, c.vit_side * c.vit_patch_size

    def whole(w: int, h: int, scale: float) -> tuple[int, int]:
        return max(p, round(round(w * scale) / p) * p), max(p, round(round(h * scale) / p) * p)

    scale = max(min(limit / max(width, height), 1.0), min(MIN_SIDE, limit) / min(width, height))
    w, h = whole(width, height, scale)
    if w * h > MAX_PIXELS:
        w, h = whole(w, h, MAX_PIXELS / (w * h))
    if max(w, h) > limit:
        w, h = whole(w, h, limit / max(w, h))
    return w, h


def patches_of(image: Image.Image, c: BagelConfig) -> tuple[Tensor, Tensor]:
    """[N, 3 p p] patches in (row, column, channel) order from [-1, 1], and their positions [N]."""
    width, height = viewed_size(*image.size, c)
    rgb = image.convert("RGB").resize((width, height), Image.Resampling.BICUBIC)
    pixels = torch.from_numpy(np.asarray(rgb).copy()).float() / 127.5 - 1
    p = c.vit_patch_size
    grid = pixels.reshape(height // p, p, width // p, p, 3).permute(0, 2, 1, 3, 4)
    rows, columns = torch.arange(height // p), torch.arange(width // p)
    return grid.reshape(-1, 3 * p * p), (rows[:, None] * c.vit_side + columns).flatten()


def spellings(answer: str) -> list[str]:
    """The ways a short answer is commonly written; none is the beginning of another."""
    word = answer.strip()
    return sorted({word, word.lower(), word.capitalize()})


@torch.inference_mode()
def answer(
    model: "BagelModel", images: Sequence[Image.Image], questions: Sequence[str], expected: Sequence[str]
) -> list[float]:
    """The probability of each expected answer to its question about its image, as VQAScore has it.

    An answer's capitalisations count together. Raises ``ModelError`` for a model without the tower.
    """
    if not model.config.vit_layers:
        raise ModelError(f"model {model.name!r} has no understanding tower, so it cannot look at images")
    if not len(images) == len(questions) == len(expected):
        raise ModelError(
            f"{len(images)} images, {len(questions)} questions, {len(expected)} answers: not as many"
        )
    model.network.eval()
    seen = [patches_of(image, model.config) for image in images]
    groups: dict[tuple[int, ...], list[int]] = {}
    for i, (_, ids) in enumerate(seen):
        groups.setdefault(tuple(ids.tolist()), []).append(i)
    out = [0.0] * len(images)
    for members in groups.values():
        pixels = torch.stack([seen[i][0] for i in members])
        context = _Context(model, pixels, seen[members[0]][1], [questions[i] for i in members])
        wanted = [(n, words) for n, i in enumerate(members) for words in spellings(expected[i])]
        for (n, _), p in zip(wanted, context.probabilities(wanted), strict=True):
            out[members[n]] += p
    return out


class _Context:
    """The cached image and question of some rows: the image sees itself, the question all before it."""

    def __init__(self, model: "BagelModel", patches: Tensor, ids: Tensor, questions: list[str]) -> None:
        network, tok = model.network, model.tokenizer
        self.model = model
        weight = network.vae2llm.weight
        device = weight.device
        n = len(patches)
        features = network.vit_model(patches.to(device, weight.dtype), ids.to(device))
        features = network.connector(features) + network.vit_pos_embed(ids.to(device))
        start, end = network.embed(torch.tensor(network.border, device=device))
        blocks = [[*tok.block(q), tok.bos] for q in questions]
        self.lengths = torch.tensor([len(b) for b in blocks], device=device)
        longest = int(self.lengths.max())
        text = torch.tensor([b + [tok.pad] * (longest - len(b)) for b in blocks], device=device)
        look = [start.expand(n, 1, -1), features.to(start.dtype), end.expand(n, 1, -1)]
        und = torch.cat([*look, network.embed(text)], dim=1)
        size = features.shape[1] + 2
        slots = torch.arange(und.shape[1], device=device)
        self.valid = slots < size + self.lengths[:, None]
        causal = (slots[:, None] >= slots) | (slots < size)
        own = torch.eye(len(slots), dtype=torch.bool, device=device)
        mask = ((causal & self.valid[:, None, :]) | own)[:, None]
        # The whole image stands at one position, and the text goes on from the next.
        positions = (slots - size + 1).clamp(min=0).expand(n, -1)
        hidden, _, self.cache = network.run(und, None, positions, mask)
        last = hidden[torch.arange(n, device=device), size + self.lengths - 1]
        self.first = network.language_model.lm_head(last).float().log_softmax(-1)
        self.at = 1 + self.lengths

    def probabilities(self, wanted: list[tuple[int, str]]) -> list[float]:
        """Of each (row, words): the product of its tokens' probabilities after that row's question."""
        network, tok = self.model.network, self.model.tokenizer
        device = self.valid.device
        words = [tok.encode(w) for _, w in wanted]
        rows = torch.tensor([n for n, _ in wanted], device=device)
        longest = max(len(w) for w in words)
        ids = torch.tensor([w + [tok.pad] * (longest - len(w)) for w in words], device=device)
        real = (
            torch.arange(longest, device=device)
            < torch.tensor([len(w) for w in words], device=device)[:, None]
        )
        steps = torch.arange(longest, device=device)
        tail = (steps[:, None] >= steps).expand(len(rows), -1, -1)
        past = self.valid[rows][:, None].expand(-1, longest, -1)
        mask = torch.cat([past, tail], dim=2)[:, None]
        cache = [(k[rows], v[rows]) for k, v in self.cache]
        hidden, _, _ = network.run(network.embed(ids), None, self.at[rows][:, None] + steps, mask, cache)
        after = network.language_model.lm_head(hidden[:, :-1]).float().log_softmax(-1)
        logs = torch.cat([self.first[rows][:, None], after], dim=1).gather(2, ids[..., None])[..., 0]
        return (logs * real).sum(1).exp().tolist()
