"""A sampler's keyword-only parameters as the schema of ``targets.params``: unknown ones are refused."""

import inspect
from collections.abc import Callable, Mapping
from functools import cache
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from datagen.errors import InputError

Share = Annotated[float, Field(ge=0, le=1)]  # of the targets that have something


@cache
def schema(draw: Callable[..., Any]) -> type[BaseModel]:
    """A pydantic model with one field a parameter."""
    fields: dict[str, Any] = {
        name: (Any if p.annotation is p.empty else p.annotation, ... if p.default is p.empty else p.default)
        for name, p in inspect.signature(draw, eval_str=True).parameters.items()
        if p.kind is p.KEYWORD_ONLY
    }
    return create_model(
        "Params", __config__=ConfigDict(extra="forbid", allow_inf_nan=False, strict=False), **fields
    )


def checked(draw: Callable[..., Any], params: Mapping[str, Any]) -> dict[str, Any]:
    """``params`` as the sampler takes them. Raises ``InputError`` naming the first wrong one."""
    model = schema(draw)
    try:
        found = model.model_validate(dict(params))
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(x) for x in first["loc"])
        if first["type"] == "extra_forbidden":
            valid = ", ".join(model.model_fields) or "none"
            raise InputError(f"targets.params: unknown parameter {name!r}; valid: {valid}") from error
        raise InputError(f"targets.params.{name}: {first['msg']}") from error
    return {name: getattr(found, name) for name in found.model_fields_set}
