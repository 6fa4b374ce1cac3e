"""Packed sequences: the real tokens of a batch in one row, so that none is spent on padding.

Text differs in length and some examples have no picture; padded to a rectangle, both are computed and
thrown away. Here the rows of a batch become documents of one long row, and a query sees keys of its own
document only. On the CPU that is a boolean mask for SDPA; on a GPU a block mask for flex attention, which
skips the blocks between documents. Upstream packs the same way (``bagel.py``, ``create_sparse_mask``).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor


@cache
def _block_mask() -> Any:
    from torch.nn.attention.flex_attention import create_block_mask

    return torch.compile(create_block_mask)  # uncompiled it would hold a mask of S x S


@dataclass(frozen=True)
class Packing:
    """Where the tokens of a padded batch of [B, T] text and B pictures of N tokens go.

    ``und`` [B, T + 2] and ``drawn`` [B] select what is real: text and the picture's two borders, and which
    rows have a picture. By token of the packed row, S in all: ``document``, ``image`` (border or latent),
    ``place`` in its row, and ``seen``, whether pictures may look at it.
    """

    und: Tensor
    drawn: Tensor
    document: Tensor
    image: Tensor
    place: Tensor
    seen: Tensor

    @classmethod
    def of(cls, text_mask: Tensor, drawn: Tensor, image_length: int, sees: Tensor) -> "Packing":
        """``sees`` [B, T]: the text that the row's picture may look at."""
        n, length = text_mask.shape
        device = text_mask.device
        borders = drawn[:, None].expand(n, 2)
        und = torch.cat([text_mask, borders], dim=1)
        rows = torch.arange(n, device=device)
        place = torch.arange(length + 2, device=device).expand(n, length + 2)[und]
        latents = int(drawn.sum()) * image_length
        return cls(
            und,
            drawn,
            torch.cat([rows[:, None].expand_as(und)[und], rows[drawn].repeat_interleave(image_length)]),
            torch.cat([place >= length, place.new_ones(latents, dtype=torch.bool)]),
            torch.cat([place, place.new_zeros(latents)]),
            torch.cat([torch.cat([sees, torch.zeros_like(borders)], dim=1)[und], und.new_zeros(latents)]),
        )

    def visible(self, q: Tensor, k: Tensor) -> Tensor:
        """Whether tokens ``q`` look at tokens ``k``: text causally, a picture at its text and at itself."""
        picture = self.image[k] | self.seen[k]
        text = ~self.image[k] & (self.place[k] <= self.place[q])
        return (self.document[q] == self.document[k]) & torch.where(self.image[q], picture, text)

    @property
    def rule(self) -> Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]:
        """``visible`` as flex attention asks: for a batch and a head too, which change nothing."""
        return lambda b, h, q, k: self.visible(q, k)

    def mask(self) -> Any:
        """What ``layers.attend`` takes: bool [1, 1, S, S], or flex attention's block mask on a GPU."""
        total, device = len(self.document), self.document.device
        if device.type == "cuda":
            return _block_mask()(self.rule, None, None, total, total, device=str(device))
        each = torch.arange(total, device=device)
        return self.visible(each[:, None], each[None, :])[None, None]
