"""The table of models, and ``load_model``.

To add one: ``datagen/models/x`` with a ``load(name, device)`` that returns a ``UnifiedModel``, and a
line here.
"""

import json
from pathlib import Path

from datagen.errors import ModelError
from datagen.models.base import UnifiedModel
from datagen.registry import resolve

MODELS: dict[str, str] = {
    "pocket": "datagen.models.bagel:load",
    "fake": "datagen.models.fake:load",
}


# What a checkpoint folder's config.json calls itself -> the same loaders.
ARCHITECTURES: dict[str, str] = {
    "bagel": "datagen.models.bagel:load",
    "fake": "datagen.models.fake:load",
}


def load_model(name: str, device: str = "cpu") -> UnifiedModel:
    """The model called ``name``: a key of ``MODELS``, a checkpoint folder, or ``module:function``.

    Raises ``UnknownName`` with the valid names, ``ModelError`` when a checkpoint does not load.
    """
    folder = Path(name)
    if name in MODELS or not folder.is_dir():
        return resolve("model", name, MODELS)(name, device)
    path = folder / "config.json"
    try:
        kind = json.loads(path.read_text())["model_type"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: missing or not a model's config: {error}") from error
    return resolve(f"model_type in {path}:", str(kind), ARCHITECTURES)(name, device)
