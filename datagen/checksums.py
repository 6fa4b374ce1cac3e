"""``checksums.json``: what a dataset folder was written as, so that what is not that is told.

It holds the sha256 of the data, of its description for programs and of its own list, and stands or falls byte
for byte: a digit changed anywhere, a row count too, is told. Left out: the card, which people edit before they
publish, and signatures: it tells damage, not an author.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datagen.errors import InputError, WorkError

CHECKSUMS = "checksums.json"
PIECES, PIECE = 256, 1024  # of a sketch, evenly spaced; and bytes of each


def digest(path: Path) -> str:
    """The sha256 of a file of any size."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sketch(path: Path) -> str:
    """Of a file's size and some of its bytes: tells a checkpoint from another without reading 28 GB."""
    size = path.stat().st_size
    found = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        for piece in range(PIECES):
            file.seek(size * piece // PIECES)
            found.update(file.read(PIECE))
    return found.hexdigest()[:16]


def checksums(files: Mapping[str, Mapping[str, Any]]) -> str:
    """The text of ``checksums.json``: name to ``sha256``, and ``rows`` for a file of data."""
    own = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()
    return json.dumps({"files": files, "sha256": own}, indent=1, sort_keys=True) + "\n"


def verify(folder: Path) -> dict[str, int]:
    """Rows by file of data of a dataset folder whose data are as they were written.

    Raises ``InputError`` when there is no dataset, ``WorkError`` naming a file that is missing, changed or
    was not there.
    """
    if not list(folder.glob("data/*.parquet")):
        raise InputError(f"{folder}: no dataset here; run datagen build first")
    path = folder / CHECKSUMS
    try:
        text = path.read_bytes()
        files = json.loads(text)["files"]
        if checksums(files).encode() != text:
            raise ValueError("checksum differs")
        sums = {name: entry["sha256"] for name, entry in files.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise WorkError(f"{path}: missing, torn or changed, so nothing vouches for the data") from error
    for other in sorted(folder.glob("data/*")):
        if f"data/{other.name}" not in sums:
            raise WorkError(f"{other}: was not written by the build; remove it")
    for name, sha256 in sums.items():
        if not (folder / name).is_file() or digest(folder / name) != sha256:
            raise WorkError(f"{folder / name}: missing, torn or changed; make the dataset again")
    return {name: entry["rows"] for name, entry in files.items() if "rows" in entry}
