"""Keys of TOML files, as the models have them that read these files, and as pages of the documentation list them."""

from __future__ import annotations

import json
import re
import types
import typing
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel

from harness.config.suite import PartEntry

_ROW = re.compile(r"^\| `([^`]+)` \|(.*)\| ([^|]*) \|([^|]*)\|$", re.M)


def keys(model: type[BaseModel], before: str = "", tables: dict[str, type[BaseModel]] | None = None) -> dict[str, str]:
    """Return the dotted keys of a model with their defaults as TOML; `tables` says what free tables hold."""
    found: dict[str, str] = {}
    for name, field in model.model_fields.items():
        path = f"{before}{name}"
        inner, is_value = _alternatives(field.annotation)
        if tables and path in tables:
            inner, is_value = [tables[path]], False
        if is_value or not inner:
            found[path] = shown(field)
        for one in inner:
            named = f"{path}.NAME" if _holds_names(field.annotation) else path
            found |= keys(one, f"{named}.", tables)
    return found


def _alternatives(annotation: Any) -> tuple[list[type[BaseModel]], bool]:
    """Return the models that a key may hold, and whether it may also be a value."""
    models, is_value = list[type[BaseModel]](), False
    for one in _flat(annotation):
        if isinstance(one, type) and issubclass(one, BaseModel) and one is not PartEntry:
            models.append(one)
        elif one is not type(None):
            is_value = True
    return list(dict.fromkeys(models)), is_value


def _flat(annotation: Any) -> Iterator[Any]:
    """Yield what an annotation allows, with the items of its lists and tables."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        yield from _flat(arguments[0])
    elif origin in (typing.Union, types.UnionType):
        for one in arguments:
            yield from _flat(one)
    elif origin in (list, tuple) and any(_has_model(one) for one in arguments):
        for one in arguments:
            yield from (() if one is Ellipsis else _flat(one))
    elif origin is dict and _has_model(arguments[1]):
        yield from _flat(arguments[1])
    else:
        yield annotation if origin is not Literal else str


def _has_model(annotation: Any) -> bool:
    return bool(_alternatives(annotation)[0])


def _holds_names(annotation: Any) -> bool:
    return any(typing.get_origin(one) is dict for one in (annotation, *typing.get_args(annotation)))


def shown(field: Any) -> str:
    """Return a default as a page has it."""
    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=True)
    if default is None:
        return "none"
    return f"`{json.dumps(default)}`"


def documented(text: str) -> dict[str, str]:
    """Return the keys of a page's tables with their defaults; ValueError for one that stands there twice."""
    found: dict[str, str] = {}
    for key, _, default, _ in _ROW.findall(text):
        if key in found:
            raise ValueError(f"`{key}` stands twice")
        found[key] = default.strip()
    return found
