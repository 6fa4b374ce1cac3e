"""The protocol of a unified model: one object that writes a trace, opens an image and draws it.

A model is anything with these methods; there is no base class to inherit from. Shapes are the
contract. ``T`` is text length in tokens (padded), ``B`` the batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from datagen.sample import Transition

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image
    from torch import Tensor, nn


@dataclass(frozen=True)
class GenerationConfig:
    """How to generate. ``None`` means the model's own default.

    ``trace``: ``self`` the model writes it; ``given`` the caller passes ``traces``; ``none`` the
    image is drawn from the prompt alone (always forced). ``force`` opens the image for a model that
    did not, and records it. ``cfg`` is the classifier-free guidance scale, 1.0 draws without.
    """

    trace: Literal["self", "given", "none"] = "self"
    force: bool = False
    cfg: float | None = None
    steps: int | None = None
    temperature: float | None = None  # of the trace's tokens; 0 is greedy
    max_trace_tokens: int | None = None


@dataclass
class UnifiedSample:
    """One generated candidate."""

    prompt: str
    trace: str
    trace_ids: "Tensor"  # [T] with the end-of-text token
    image: "Image | None"  # None: the model never opened one
    image_repr: "Tensor | None"  # latent [C, h, w] or codes [N]
    transition: Transition


@dataclass(frozen=True)
class Example:
    """One training example. ``image`` None trains the trace only; an empty ``trace`` the image only.

    A tensor is an image that the model's ``represent`` has encoded before.
    """

    prompt: str
    trace: str
    image: "Image | Tensor | None"
    text_weight: float = 1.0
    image_weight: float = 1.0
    open_image: bool = True  # supervise the opening token after the trace


@dataclass
class UnifiedBatch:
    """Padded tensors of ``B`` examples; what ``losses`` takes."""

    input_ids: "Tensor"  # [B, T]
    text_mask: "Tensor"  # [B, T] bool, real tokens
    label_mask: "Tensor"  # [B, T] bool, positions whose *next* token is supervised
    labels: "Tensor"  # [B, T] next tokens
    image: "Tensor"  # [B, C, h, w] latents or [B, N] codes
    image_mask: "Tensor"  # [B] bool, has an image
    text_weight: "Tensor"  # [B] >= 0
    image_weight: "Tensor"  # [B] >= 0

    def to(self, device: "torch.device | str") -> "UnifiedBatch":
        return UnifiedBatch(**{k: v.to(device) for k, v in vars(self).items()})


@dataclass
class UnifiedLoss:
    """``loss`` [] is what is minimised; the others [B] are unweighted, 0 where absent.

    ``opening`` is the cross-entropy of the token that opens the image, apart from ``text``: in one mean
    with a trace of thirty tokens it would carry a thirtieth of the weight, and never be learned.
    """

    loss: "Tensor"
    text: "Tensor"
    image: "Tensor"
    opening: "Tensor"


class UnifiedModel(Protocol):
    """What the journey and the trainer need of a model.

    One whose pictures cost an autoencoder says so in ``encodes``, and in ``codec_id`` which it is; what it
    drew before decoding then goes into the dataset, see ``latent.py``.
    """

    name: str

    def generate(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        config: GenerationConfig,
        traces: Sequence[str] | None = None,
    ) -> list[UnifiedSample]:
        """One candidate a prompt; candidate i depends on (prompts[i], seeds[i], config) only."""
        ...

    def collate(self, examples: Sequence[Example]) -> UnifiedBatch: ...

    def losses(self, batch: UnifiedBatch, generator: "torch.Generator | None" = None) -> UnifiedLoss: ...

    def encode_image(self, pixels: "Tensor") -> "Tensor":
        """[B, 3, H, W] in [-1, 1] to the representation that is trained on."""
        ...

    def decode_image(self, representation: "Tensor") -> "Tensor":
        """The inverse of ``encode_image``; [B, 3, H, W] in [-1, 1]."""
        ...

    def save(self, folder: str) -> None: ...

    @property
    def module(self) -> "nn.Module":
        """The trainable module, for optimizers, peft and FSDP."""
        ...
