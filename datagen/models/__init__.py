"""The table of models, and ``load_model``.

To add one: ``datagen/models/x`` with a ``load(name, device, **options)`` that returns a
``UnifiedModel``, and a line here.
"""

import json
from pathlib import Path

from datagen.checksums import sketch
from datagen.errors import ModelError, UnknownName
from datagen.models import hub, options
from datagen.models.base import UnifiedModel
from datagen.registry import resolve

# A name, or the part of ``name:where`` before the colon; ``where`` is a folder, a Hub id or a URL.
MODELS: dict[str, str] = {
    "pocket": "datagen.models.bagel:load",  # ships in the package
    "bagel": "datagen.models.bagel:load",  # BAGEL-7B-MoT
    "janus": "datagen.models.janus:load",  # Janus and Janus-Pro
    "emu3": "datagen.models.emu3:load",
    "diffusers": "datagen.models.pipelines:load",  # any text-to-image pipeline; draws only
    "vllm-omni": "datagen.models.omni:load",  # vllm-omni:URL, a server; draws only
    "fake": "datagen.models.fake:load",
}


# What a checkpoint folder's config.json calls itself -> the same loaders.
ARCHITECTURES: dict[str, str] = {
    "bagel": "datagen.models.bagel:load",
    "janus": "datagen.models.janus:load",
    "emu3": "datagen.models.emu3:load",
    "fake": "datagen.models.fake:load",
}
PIPELINE = "model_index.json"


def load_model(name: str, device: str | None = None) -> UnifiedModel:
    """The model called ``name``, with any options after a ``?``: ``bagel?image_size=512&steps=30``.

    ``device`` None is the GPU where there is one. A key of ``MODELS``, ``key:where``, a checkpoint folder, a Hub id (``OWNER/NAME``) or
    ``module:function``. Raises ``UnknownName`` with the valid names, ``ModelError`` when a checkpoint
    does not load, ``InputError`` for an option that it does not have.
    """
    base, chosen = options.split(name)
    device = device or best_device()
    kind, _, where = base.partition(":")
    if kind in MODELS:
        return resolve("model", kind, MODELS)(where or kind, device, **chosen)
    if Path(base).is_dir() or hub.is_hub_id(base):
        return resolve_folder(base)(base, device, **chosen)
    return resolve("model", base, MODELS)(base, device, **chosen)


def check_name(name: str) -> None:
    """Raises ``UnknownName`` for a name that ``load_model`` cannot know; nothing is loaded or fetched."""
    base, _ = options.split(name)
    if not (base in MODELS or ":" in base or Path(base).is_dir() or hub.is_hub_id(base)):
        raise UnknownName("model", base, MODELS)


def weights_of(name: str) -> dict[str, str]:
    """What tells a checkpoint in a folder from another in its place; empty for what lies in none."""
    base, _ = options.split(name)
    kind, _, where = base.partition(":")
    folder = Path(where if kind in MODELS and where else base)
    files = [
        *folder.glob("*.safetensors"),
        *folder.glob("*/*.safetensors"),
    ]  # a pipeline's parts lie in folders
    return {path.relative_to(folder).as_posix(): sketch(path) for path in sorted(files)}


def best_device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def resolve_folder(name: str):  # type: ignore[no-untyped-def]  # any loader of the table
    """The loader for a folder or a Hub id, by what its own config says it is."""
    folder = hub.fetch(name, ("config.json", PIPELINE))
    if (folder / PIPELINE).is_file():
        return resolve("model", "diffusers", MODELS)
    path = folder / "config.json"
    try:
        kind = json.loads(path.read_text())["model_type"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: missing or not a model's config: {error}") from error
    return resolve(f"model_type in {path}:", str(kind), ARCHITECTURES)
