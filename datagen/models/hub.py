"""A model's name to a folder with its files: a folder as it is, or a Hub id through the local cache.

Left out: choosing a revision and logging in, which ``HF_TOKEN`` and ``hf auth login`` do.
"""

from collections.abc import Sequence
from pathlib import Path

from datagen.errors import ModelError

SMALL = ("*.json", "*.txt", "*.jinja", "*.model")


def is_hub_id(name: str) -> bool:
    """``owner/name``, and nothing that is a path here."""
    return name.count("/") == 1 and all(name.split("/")) and name[0] not in "./~" and not Path(name).exists()


def fetch(name: str, patterns: Sequence[str] = (*SMALL, "*.safetensors")) -> Path:
    """The folder ``name``, or the Hub's files of ``name`` that match ``patterns``.

    Raises ``ModelError`` when it is neither, or when the Hub cannot be reached and nothing is cached.
    """
    if Path(name).is_dir():
        return Path(name)
    if not is_hub_id(name):
        raise ModelError(f"{name}: neither a folder nor a Hub id (OWNER/NAME)")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=list(patterns)))
    except Exception as error:  # the Hub's errors share no base class: not found, gated, offline, network
        raise ModelError(f"{name}: not to be had from the Hub: {str(error).splitlines()[0]}") from error
