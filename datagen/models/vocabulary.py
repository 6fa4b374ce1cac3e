"""Which vocabulary a model knows, told by its name or its config, before anything is loaded.

Prompts are written before a model is: a recipe must know what it may ask for. Drawn scenes are known
to the pocket model, to what was trained from it, and to the fake; everything else draws photographs.
"""

import json
from pathlib import Path

from datagen.registry import resolve

DRAWN = ("pocket", "fake")
SCENES, PHOTOGRAPHS = "scenes", "coco"


def vocabulary_of(model: str) -> str:
    """``scenes`` or ``coco``; for ``module:function`` the function's attribute ``vocabulary``, if it has one.

    Raises ``InputError`` for an import path that does not import.
    """
    from datagen.models import MODELS

    base = model.partition("?")[0]
    kind, _, where = base.partition(":")
    if base in DRAWN:
        return SCENES
    folder = Path(where if where and kind in MODELS else base)
    if folder.is_dir():
        return SCENES if _draws_scenes(folder) else PHOTOGRAPHS
    if where and kind not in MODELS:
        return str(getattr(resolve("model", base, MODELS), "vocabulary", PHOTOGRAPHS))
    return PHOTOGRAPHS


def _draws_scenes(folder: Path) -> bool:
    """A checkpoint that draws pixels is a pocket; one that cannot be read is refused when it is loaded."""
    try:
        row = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(row, dict) and (row.get("model_type") == "fake" or row.get("codec") == "pixels")
