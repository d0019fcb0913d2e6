"""The functions that a value holds: a plain one, those of a property, and those under decorators."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property, partial
from types import CellType, FunctionType, MethodType
from typing import Any


def functions_in(value: Any) -> Iterator[FunctionType]:
    """Yield the Python functions that a value of a module or class calls, each once."""
    todo, seen = [value], set()
    while todo:
        one = todo.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, FunctionType):
            yield one
            todo += [inner for cell in one.__closure__ or () if callable(inner := cell_value(cell))]
        todo += list(_inner(one))


def _inner(value: Any) -> Iterator[Any]:
    """Yield what a wrapper of a function wraps."""
    kind = type(value)
    if kind in (staticmethod, classmethod, MethodType):
        yield value.__func__
    elif kind is property:
        yield from (one for one in (value.fget, value.fset, value.fdel) if one is not None)
    elif kind is cached_property or kind is partial:
        yield value.func
    elif kind.__name__ == "_lru_cache_wrapper" or kind is FunctionType:
        yield from (one for key, one in vars(value).items() if key == "__wrapped__")


def cell_value(cell: CellType) -> Any:
    """Return what a closure's cell holds; None if it is empty."""
    try:
        return cell.cell_contents
    except ValueError:
        return None
