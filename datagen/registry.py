"""A name, or ``"module:Object"``, to the object it names.

Tables are plain dicts of strings (``"counting": "rewards.objects:Counting"``) beside the things
they list, so nothing heavy is imported before it is used. There is no plugin framework: a third
party's object is named by its import path.
"""

from collections.abc import Mapping
from pkgutil import resolve_name
from typing import Any

from datagen.errors import InputError, UnknownName


def resolve(kind: str, name: str, table: Mapping[str, str]) -> Any:
    """The object behind ``name``: a key of ``table``, or an import path ``module:Object``.

    Raises ``UnknownName`` for a name that is neither, ``InputError`` for a path that does not import.
    """
    path = table.get(name)
    if path is None:
        if ":" not in name:
            raise UnknownName(kind, name, table)
        path = name
    try:
        return resolve_name(path)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(f"{kind} {name!r} cannot be imported: {error}") from error
