"""Reads a TOML file into a closed pydantic model; every failure is a UsageError of one sentence."""

from __future__ import annotations

import tomllib
from pathlib import Path
from types import NoneType
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from harness.errors import UsageError, did_you_mean

SIZE_CAP_BYTES = 1_000_000
Model = TypeVar("Model", bound=BaseModel)


def read_toml(path: Path) -> dict[str, Any]:
    """Return a TOML file's tables; refuse one too large, unreadable or not TOML (duplicate keys included)."""
    try:
        with path.open("rb") as stream:
            content = stream.read(SIZE_CAP_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); expected a readable TOML file") from None

    if len(content) > SIZE_CAP_BYTES:
        raise UsageError(f"{path}: larger than {SIZE_CAP_BYTES:,} bytes; expected a short TOML file, so shorten it")
    try:
        return tomllib.loads(content.decode())
    except RecursionError:
        raise UsageError(f"{path}: nested too deeply; expected a few tables, so flatten it") from None
    except ValueError as error:  # not TOML, or not UTF-8
        raise UsageError(f"{path}: not valid TOML: {error}; correct it there") from None


def validated(model: type[Model], tables: Any, where: str) -> Model:
    """Return the tables as a model; raise UsageError about one fault (unknown keys first), `where` naming the file."""
    try:
        return model.model_validate(tables)
    except ValidationError as error:
        fault = min(error.errors(), key=lambda fault: fault["type"] != "extra_forbidden")
        raise UsageError(f"{where}: {_sentence(model, fault, tables)}") from None


def _sentence(model: type[BaseModel], fault: Any, tables: Any) -> str:
    place = tuple(fault["loc"])
    kept = [*_written(place[:-1], tables), place[-1]] if fault["type"] == "missing" else _written(place, tables)
    field = ".".join(map(str, kept))

    if fault["type"] == "extra_forbidden":
        return f'unknown key "{field[:80]}"{did_you_mean(str(place[-1]), _known_keys(model, place[:-1]))}'
    if fault["type"] == "missing":
        return f'the key "{field}" is missing; add it'
    if fault["type"] == "value_error":  # our own validators: their sentence has found and expected
        prefix = f"{field}: " if field else ""
        return prefix + fault["msg"].removeprefix("Value error, ")
    expected = fault["msg"][:1].lower() + fault["msg"][1:]
    return f'"{field[:80]}" is {repr(fault["input"])[:80]}; {expected}'


def _written(place: tuple[int | str, ...], tables: Any) -> list[int | str]:
    """Return the steps of a place that exist in the tables; pydantic adds the names of a union's choices."""
    steps: list[int | str] = []
    for part in place:
        if part in tables if isinstance(tables, dict) else isinstance(tables, list) and isinstance(part, int):
            tables = tables[part]
            steps.append(part)
    return steps


def _known_keys(model: type[BaseModel], place: tuple[int | str, ...]) -> list[str]:
    """Return the keys that the table at a place may hold; follows models, lists and dictionaries."""
    kind: Any = model
    for part in place:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            kind = kind.model_fields[str(part)].annotation
        else:
            kind = get_args(kind)[-1]
        inner = [option for option in get_args(kind) if option is not NoneType]
        if NoneType in get_args(kind) and len(inner) == 1:
            kind = inner[0]
    return list(kind.model_fields) if isinstance(kind, type) and issubclass(kind, BaseModel) else []
