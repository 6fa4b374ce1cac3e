"""Opening a checkpoint of transformers with its tokenizer and our settings."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from datagen.errors import ModelError
from datagen.models import hub, options
from datagen.models.vq import CARRIED, SETTINGS, VQSettings

FLOAT_ON_CPU = 2_000_000_000  # parameters: below this a CPU computes in float32, above as stored


def load(
    kind: Any, name: str, device: str, defaults: VQSettings, chosen: Mapping[str, Any]
) -> tuple[Any, Any, VQSettings, str, dict[str, bytes]]:
    """What ``VQModel`` is made of. ``kind`` is transformers' class; a GPU computes in bfloat16.

    Raises ``ModelError`` naming the folder when weights, tokenizer or settings cannot be read.
    """
    from transformers import AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    folder = hub.fetch(name)
    kept, files = read_settings(folder), {}
    for part in CARRIED:
        if (folder / part).is_file():
            files[part] = (folder / part).read_bytes()
    settings = options.apply(defaults, {**normalisation(files), **kept}, str(folder / SETTINGS))
    settings = options.apply(settings, chosen, f"model {name!r}")
    dtype: Any = "auto" if device == "cpu" else torch.bfloat16
    try:
        network, report = kind.from_pretrained(folder, dtype=dtype, output_loading_info=True)
        tokenizer = AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise ModelError(f"{folder}: cannot be loaded: {str(error).splitlines()[0]}") from error
    if report["missing_keys"]:
        raise ModelError(
            f"{folder}: weights lack {sorted(report['missing_keys'])[0]}, so they are another model's"
        )
    if device == "cpu" and network.num_parameters() < FLOAT_ON_CPU:
        network = network.float()
    return network.to(device).eval(), tokenizer, settings, name, files


def read_settings(folder: Path) -> dict[str, Any]:
    path = folder / SETTINGS
    try:
        return json.loads(path.read_text()) if path.is_file() else {}
    except ValueError as error:
        raise ModelError(f"{path}: not readable settings: {error}") from error


def normalisation(files: Mapping[str, bytes]) -> dict[str, Any]:
    """The codec's mean and spread of pixels, where the checkpoint's image processor names them."""
    for part in ("preprocessor_config.json", "processor_config.json"):
        row = json.loads(files.get(part, b"{}"))
        row = row.get("image_processor", row)
        if row.get("image_mean") and row.get("image_std"):
            return {"mean": row["image_mean"], "std": row["image_std"]}
    return {}
