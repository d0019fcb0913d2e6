"""Reads a TOML file into a closed pydantic model; every failure is a UsageError of one sentence."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from harness.errors import UsageError, did_you_mean

SIZE_CAP_BYTES = 1_000_000
_EXPECTED = {
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "expected a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "expected a number"),
    "tuple_type": "expected a list",
    **dict.fromkeys(("bool_type", "bool_parsing"), "expected true or false"),
}
"""What should have been there, by pydantic's kind of fault; other kinds have pydantic's own words."""
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
        return tomllib.loads(content.decode("utf-8-sig"))  # with or without a byte-order mark
    except RecursionError:
        raise UsageError(f"{path}: nested too deeply; expected a few tables, so flatten it") from None
    except ValueError as error:  # not TOML, or not UTF-8
        raise UsageError(f"{path}: not valid TOML: {error}; correct it there") from None


def lay_over(tables: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tables with the changes laid over them, table by table; any other value takes the old one's place."""
    both = dict(tables)
    for key, value in changes.items():
        inner = both.get(key)
        both[key] = lay_over(inner, value) if isinstance(inner, dict) and isinstance(value, Mapping) else value
    return both


def validated(model: type[Model], tables: Any, where: str, changes: Mapping[str, str] | None = None) -> Model:
    """Return the tables as a model; raise UsageError about one fault (unknown keys first), `where` naming the file.

    `changes` names, by dotted path, what was changed after the file was read: a fault there is its own.
    """
    try:
        return model.model_validate(tables)
    except ValidationError as error:
        fault = _choose_fault(error, tables)
        field = _dotted_path(fault, tables)
        sources = [name for key, name in (changes or {}).items() if field and _overlap(key, field)]
        raise UsageError(
            f"{[where + _entry(fault, tables), *sources][-1]}: {_describe_fault(model, fault, field)}"
        ) from None


def _choose_fault(error: ValidationError, tables: Any) -> Any:
    """Return the fault that is named: an unknown key, else the first.

    Of the faults that the choices of a union find at one place it is the innermost one, and rather one of a value than
    one of a type: the others are of choices that were not meant.
    """
    first = min(error.errors(), key=lambda fault: fault["type"] != "extra_forbidden")
    place = _steps_in_file(first["loc"], tables)
    steps = [(_steps_in_file(fault["loc"], tables), fault) for fault in error.errors()]
    there = [(found, fault) for found, fault in steps if found[: len(place)] == place]
    if first["type"] == "extra_forbidden" or len(there) == 1:
        return first
    return max(there, key=lambda one: (len(one[0]), not one[1]["type"].endswith("_type")))[1]


def _entry(fault: Any, tables: Any) -> str:
    """Return which table of a list a fault is in, counted from 1, such as ", [[trials]] entry 2"."""
    steps = _steps_in_file(tuple(fault["loc"]), tables)
    if len(steps) > 2 and isinstance(steps[1], int):
        return f", [[{steps[0]}]] entry {steps[1] + 1}"
    return ""


def _overlap(one: str, other: str) -> bool:
    """Tell whether two dotted paths are equal, or one leads to the other."""
    return one == other or one.startswith(f"{other}.") or other.startswith(f"{one}.")


def _dotted_path(fault: Any, tables: Any) -> str:
    """Return where pydantic found a fault, as the file has it; "" for the whole file."""
    place = tuple(fault["loc"])
    if fault["type"] == "missing":
        return ".".join(map(str, [*_steps_in_file(place[:-1], tables), place[-1]]))
    return ".".join(map(str, _steps_in_file(place, tables)))


def _describe_fault(model: type[BaseModel], fault: Any, field: str) -> str:
    """Return one sentence on a fault at a dotted path: what was found, what was expected."""
    place = tuple(fault["loc"])
    if fault["type"] == "extra_forbidden":
        return f'unknown key "{field[:80]}"{did_you_mean(str(place[-1]), _known_keys(model, place[:-1]))}'
    if fault["type"] == "missing":
        return f'the key "{field}" is missing; add it'
    if fault["type"] == "value_error":  # our own validators: their sentence has found and expected
        prefix = f"{field}: " if field else ""
        return prefix + fault["msg"].removeprefix("Value error, ")
    expected = _EXPECTED.get(fault["type"]) or _lower_first(fault["msg"])
    return f'"{field[:80]}" is {repr(fault["input"])[:80]}; {expected}'


def _steps_in_file(place: Sequence[int | str], tables: Any) -> list[int | str]:
    """Return the steps of a place that exist in the tables; pydantic adds the names of a union's choices."""
    steps: list[int | str] = []
    for part in place:
        if part in tables if isinstance(tables, dict) else isinstance(tables, list) and isinstance(part, int):
            tables = tables[part]
            steps.append(part)
    return steps


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]


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
