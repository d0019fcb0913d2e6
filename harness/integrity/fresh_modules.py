"""Modules of our own that were loaded while a method's code ran: their functions must be those of their files."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from importlib import import_module, reload
from importlib.machinery import PathFinder
from types import CodeType, ModuleType
from typing import Any

from harness.integrity.changes import Change
from harness.integrity.functions import functions_in
from harness.integrity.watched import classes_of


def altered_functions(module: ModuleType) -> list[Change]:
    """Return the functions of a module, and of its classes, that are not those of its source file."""
    name = module.__name__
    code = _code_of(name)
    if code is None:
        return [Change(f"the module {name}", module, partial(_refuse, name))]

    found = list(_altered(name, vars(module), code))
    bodies = {one.co_qualname if hasattr(one, "co_qualname") else one.co_name: one for one in _nested(code)}
    for label, kind in classes_of(module):
        if (body := bodies.get(kind.__qualname__)) is not None:
            found += _altered(label, vars(kind), body)
    return [Change(label, value, partial(_reload, module)) for label, value in found]


def _reload(module: ModuleType) -> None:
    reload(module)


def _code_of(name: str) -> CodeType | None:
    """Return the code of the file that an import of this name reads; None if there is none."""
    package, _, _ = name.rpartition(".")
    path = None if not package else list(import_module(package).__path__)
    spec = PathFinder.find_spec(name, path)
    loader: Any = None if spec is None else spec.loader
    code: CodeType | None = loader.get_code(name) if hasattr(loader, "get_code") else None
    return code


def _altered(label: str, namespace: Any, code: CodeType) -> Iterator[tuple[str, Any]]:
    """Yield the names that the code defines as functions and that stand for other functions."""
    defined: dict[str, list[CodeType]] = {}
    for one in _constants(code):
        defined.setdefault(one.co_name, []).append(one)
    for key, value in list(namespace.items()):
        functions = list(functions_in(value))
        if key in defined and functions and not any(f.__code__ in defined[key] for f in functions):
            yield f"{label}.{key}", value


def _constants(code: CodeType) -> Iterator[CodeType]:
    """Yield the code objects directly within another; those below a type's parameters count as directly within."""
    for one in code.co_consts:
        if isinstance(one, CodeType):
            yield one
            if one.co_name.startswith("<generic parameters"):
                yield from _constants(one)


def _nested(code: CodeType) -> Iterator[CodeType]:
    for one in _constants(code):
        yield one
        yield from _nested(one)


def _refuse(name: str) -> None:
    raise RuntimeError(f"no source file of {name} was found")
