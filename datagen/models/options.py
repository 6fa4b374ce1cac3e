"""Options in a model's name, ``bagel?image_size=512&steps=30``, onto a frozen dataclass of settings.

So that a recipe, a command line and a dataset's ``model`` column all carry them in one string.
"""

import json
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from datagen.errors import InputError

Settings = TypeVar("Settings")


def split(name: str) -> tuple[str, dict[str, Any]]:
    """``name?key=value&key=value`` to the name and its options; values are JSON, or else strings."""
    base, _, query = name.partition("?")
    options: dict[str, Any] = {}
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True) if query else []
    except ValueError as error:
        raise InputError(f"model {name!r}: options are key=value, joined by &") from error
    for key, text in pairs:
        try:
            options[key] = json.loads(text)
        except ValueError:
            options[key] = text
    return base, options


def apply(settings: Settings, options: Mapping[str, Any], source: str) -> Settings:
    """``settings`` with ``options``. Raises ``InputError`` naming the option and what is valid."""
    known = {f.name: getattr(settings, f.name) for f in fields(settings)}  # type: ignore[arg-type]
    changed = {}
    for key, value in options.items():
        if key not in known:
            raise InputError(f"{source}: unknown option {key!r}; valid: {', '.join(sorted(known))}")
        was = known[key]
        if isinstance(was, float) and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if isinstance(was, tuple) and isinstance(value, list):
            value = tuple(value)
        if was is not None and type(value) is not type(was):
            raise InputError(f"{source}: option {key} is {value!r}; valid: a {type(was).__name__}")
        changed[key] = value
    return replace(settings, **changed)  # type: ignore[type-var]
