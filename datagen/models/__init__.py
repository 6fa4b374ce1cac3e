"""The table of models, and ``load_model``.

To add one: ``datagen/models/x`` with a ``load(name, device)`` that returns a ``UnifiedModel``, and a
line here.
"""

from pathlib import Path

from datagen.models.base import UnifiedModel
from datagen.registry import resolve

MODELS: dict[str, str] = {
    "pocket": "datagen.models.bagel:load",
    "fake": "datagen.models.fake:load",
}


def load_model(name: str, device: str = "cpu") -> UnifiedModel:
    """The model called ``name``: a key of ``MODELS``, a checkpoint folder, or ``module:function``.

    Raises ``UnknownName`` with the valid names, ``ModelError`` when a checkpoint does not load.
    """
    if Path(name).is_dir():
        from datagen.models.bagel import load

        return load(name, device)
    return resolve("model", name, MODELS)(name, device)
