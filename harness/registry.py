"""Finds methods and networks: every class in the `methods` package and in the entry-point group `harness.methods`.

Adding a method is adding a file; nothing here names one. What wraps a user's function lies in
`harness.wrapping`. A plug-in that fails to import is kept as broken and reported
when it is used, so that one bad package does not stop a run without it. So is one whose import changes
code that judges.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import textwrap
from collections.abc import Iterable
from functools import cache
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any, Literal, overload

from pydantic import ValidationError

import methods
from harness.errors import Terminated, UsageError, did_you_mean
from harness.identity import check_name
from harness.integrity.guard import process_guard
from harness.plugins import load_plugin
from methods.networks.base import Network
from methods.parts import PARTS, Denoiser, Executor, Method, Schedule, Solver

GROUP = "harness.methods"


class Registry:
    """All methods by part and name, and all network families by name. Filled once per process; lookups do not block."""

    def __init__(self) -> None:
        self._methods: dict[str, dict[str, type[Method]]] = {part: {} for part in PARTS}
        self._networks: dict[str, type[Network]] = {}
        self.broken: dict[str, str] = {}

    def add(self, found: type) -> None:
        """Register one class; UsageError if its name is not allowed or is taken by another class."""
        if issubclass(found, Network):
            self._put(self._networks, check_name(found.family, "network family"), found, "network family")
        elif issubclass(found, Method):
            if found.part not in PARTS:
                raise UsageError(f'method "{found.name}" says part "{found.part}"; expected one of {", ".join(PARTS)}')
            if outdated := _outdated_name(found):
                self.broken[found.name] = outdated
                return
            self._put(self._methods[found.part], check_name(found.name, "method name"), found, found.part)

    def keep_watched(self) -> None:
        """Let the guard of this process notice when a method replaces another one."""
        process_guard().watch_table("harness.registry's methods", self._methods)
        process_guard().watch_table("harness.registry's networks", self._networks)

    def methods(self, part: str | None = None) -> list[type[Method]]:
        """Return the method classes of one part, or of all parts in the order of the four parts, sorted by name."""
        parts = PARTS if part is None else (part,)
        return [self._methods[p][name] for p in parts for name in sorted(self._methods[p])]

    def networks(self) -> list[type[Network]]:
        """Return the network classes, sorted by family."""
        return [self._networks[name] for name in sorted(self._networks)]

    def method(self, part: str, name: str) -> type[Method]:
        """Return the class of a part by name; raise UsageError with the nearest name if there is none."""
        return self._get(self._methods[part], name, part, "ls methods")

    def network(self, family: str) -> type[Network]:
        """Return the network class of a family; raise UsageError with the nearest name if there is none."""
        return self._get(self._networks, family, "network family", "ls networks")

    @overload
    def make(self, part: Literal["denoiser"], name: str, params: dict[str, Any]) -> Denoiser: ...
    @overload
    def make(self, part: Literal["schedule"], name: str, params: dict[str, Any]) -> Schedule: ...
    @overload
    def make(self, part: Literal["solver"], name: str, params: dict[str, Any]) -> Solver: ...
    @overload
    def make(self, part: Literal["executor"], name: str, params: dict[str, Any]) -> Executor: ...
    @overload
    def make(self, part: str, name: str, params: dict[str, Any]) -> Method: ...
    def make(self, part: str, name: str, params: dict[str, Any]) -> Method:
        """Return a method with validated parameters; raise UsageError naming the parameter that is wrong."""
        found = self.method(part, name)
        try:
            return found(**params)
        except (ValidationError, ValueError) as error:
            raise UsageError(parameter_sentence(f'{part} "{name}"', error, found.Params.model_fields)) from None

    @staticmethod
    def _put(table: dict[str, Any], name: str, found: type, what: str) -> None:
        other = table.setdefault(name, found)
        if other is not found:
            raise UsageError(
                f'{what} "{name}" is defined twice, by {other.__module__}.{other.__qualname__} and by '
                f"{found.__module__}.{found.__qualname__}; rename or uninstall one of them"
            )

    def _get(self, table: dict[str, Any], name: str, what: str, verb: str) -> Any:
        if name in table:
            return table[name]
        if name in self.broken:
            raise UsageError(f'{what} "{name}" cannot be used: {self.broken[name]}')
        raise UsageError(f'{what} "{name}" is unknown{did_you_mean(name, table)} (see `oneclock {verb}`)')


def parameter_sentence(owner: str, error: Exception, known: Any) -> str:
    """Return one sentence for a validation error: which key, what was found, what was expected."""
    if not isinstance(error, ValidationError):
        return f"{owner}: {error}"
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        return f'{owner} has no parameter "{key}"{did_you_mean(str(first["loc"][-1]), known)}'
    if not key:  # several parameters together: the sentence names them
        return f"{owner}: {message}"
    found = repr(first.get("input"))
    return f"{owner}: {key} is {found[:80]}; {message[0].lower()}{message[1:]}"


@cache
def registry() -> Registry:
    """Return the registry of this process, filled once.

    Methods are imported between two looks: what an import changed of the code that judges is restored, and what it
    defines is not registered.
    """
    found, guard = Registry(), process_guard()
    with guard.watching() as tampering:
        modules = _modules(methods)
    for module in modules:
        if tampering and module.__name__ in tampering.makers:
            found.broken[module.__name__.rpartition(".")[2]] = tampering.sentence(f"its file {module.__name__}")
        else:
            _add_all(found, vars(module).values(), module)

    # what stands for a user's own function
    for module in _modules(importlib.import_module("harness.wrapping")):
        _add_all(found, vars(module).values(), module)

    # plug-ins
    for point in sorted(entry_points(group=GROUP), key=lambda p: p.name):
        try:
            with guard.watching() as tampering:
                loaded = load_plugin(point)
        except Terminated:
            raise
        except (Exception, SystemExit) as error:
            found.broken[point.name] = f"its plug-in {point.value} fails to import ({type(error).__name__}: {error})"
        if tampering:
            found.broken[point.name] = tampering.sentence(f"its plug-in {point.value}, while it was imported,")
        if point.name in found.broken:
            continue

        is_module = isinstance(loaded, ModuleType)
        _add_all(found, vars(loaded).values() if is_module else [loaded], loaded if is_module else None)
    found.keep_watched()
    return found


def _add_all(found: Registry, items: Iterable[Any], module: ModuleType | None) -> None:
    for item in items:
        if _is_concrete(item, module):
            found.add(item)


_RENAMED = {Solver: {"start": "init_memory(artifact)"}, Executor: {"rehearse": "call_as_in_run"}}
"""Methods that an older plug-in may define, with their present names."""


def _outdated_name(found: type[Method]) -> str:
    """Return a sentence for a class that defines a method by an outdated name; empty for any other."""
    for part, names in _RENAMED.items():
        for old, new in names.items() if issubclass(found, part) else ():
            if hasattr(found, old):
                return f"{found.__module__}.{found.__qualname__} defines {old}(), which is now {new}; rename it"
    if _reads_context(found, "start"):
        owner = f"{found.__module__}.{found.__qualname__}"
        return f"{owner}.prepare() reads start of its context, which is now base_artifact; rename it"
    return ""


def _reads_context(found: type[Method], name: str) -> bool:
    """Tell whether the class's own `prepare` reads an attribute of its context; False where there is no source."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(vars(found)["prepare"])))
    except (KeyError, OSError, SyntaxError, TypeError):
        return False
    (function,) = tree.body
    if not isinstance(function, ast.FunctionDef) or len(function.args.args) < 2:
        return False

    context = function.args.args[1].arg
    reads = (node for node in ast.walk(function) if isinstance(node, ast.Attribute) and node.attr == name)
    return any(isinstance(node.value, ast.Name) and node.value.id == context for node in reads)


def _modules(package: ModuleType) -> list[ModuleType]:
    infos = pkgutil.walk_packages(package.__path__, package.__name__ + ".")
    return [importlib.import_module(info.name) for info in infos if not info.ispkg]


def _is_concrete(item: Any, module: ModuleType | None) -> bool:
    if not (isinstance(item, type) and issubclass(item, Method | Network)) or inspect.isabstract(item):
        return False
    own = module is None or item.__module__ == module.__name__
    return own and (hasattr(item, "name") or hasattr(item, "family"))
