"""A snapshot of names and code: what every watched name stands for, and what its functions run."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import is_dataclass
from types import ModuleType
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from harness.integrity.changes import Attributes, Entries, Kept
from harness.integrity.functions import cell_value, functions_in
from harness.integrity.watched import OWN, classes_of, library_containers, library_owners, own_modules


class NamesSnapshot:
    """What names, functions and constants were when it was taken; it grows with modules that are loaded later."""

    def __init__(self) -> None:
        self.tables: list[Entries] = []
        self.attributes: dict[str, Attributes] = {}
        self.modules: dict[str, ModuleType] = {}
        self._seen: dict[int, Any] = {}
        self._loaded = 0

    def kept(self) -> Kept:
        """Return what it holds, in records of its own."""
        attributes = {
            name: Attributes(list(a.names), list(a.owners), list(a.values)) for name, a in self.attributes.items()
        }
        return Kept(dict(self.modules), tuple(self.tables), attributes)

    def grow(self) -> list[str]:
        """Add what was loaded since the last call; return the names of our own modules among it."""
        if len(sys.modules) == self._loaded:
            return []
        self._loaded = len(sys.modules)
        fresh = [(name, module) for name, module in own_modules() if name not in self.modules]
        for name, module in fresh:
            self.modules[name] = module
            self._add_owner(name, module, is_own=True)
            for label, found in classes_of(module):
                self._add_owner(label, found, is_own=True)

        # libraries
        for label, owner in library_owners():
            self._add_owner(label, owner, is_own=False)
        for label, found in library_containers():
            self.add_container(label, found)
        return [name for name, _ in fresh]

    def add_container(self, name: str, found: Any) -> None:
        """Add a list, table or set, or an instance of a closed class, with all that it holds of these."""
        if id(found) in self._seen:
            return
        self._seen[id(found)] = found

        live = vars(found) if _is_instance(found) else found
        keys = tuple(live) if isinstance(live, Mapping) else ()
        values = tuple(live.values() if isinstance(live, Mapping) else live)
        self.tables.append(Entries(name, found, live, keys, values))
        for number, value in enumerate(values):
            inner = f"{name}[{keys[number]!r}]" if keys else f"{name}[{number}]"
            self._add_value(inner, value, is_constant=True)

    def _add_owner(self, name: str, owner: Any, is_own: bool) -> None:
        if id(owner) in self._seen:
            return
        self._seen[id(owner)] = owner
        live = vars(owner)
        self.tables.append(Entries(name, owner, live, tuple(live), tuple(live.values()), is_library=not is_own))
        for key, value in list(live.items()):
            if not key.startswith("__") or key in _JUDGED_SPECIALS:
                self._add_value(f"{name}.{key}", value, is_own and _is_constant(key))

    def _add_value(self, name: str, value: Any, is_constant: bool) -> None:
        """Add the functions of a value; of a constant of ours also what it holds."""
        for function in functions_in(value):
            if id(function) not in self._seen:
                self._seen[id(function)] = function
                self._add_function(name if function is value else f"{name} ({function.__qualname__})", function)
        if not is_constant:
            return
        if isinstance(value, FieldInfo):
            for attribute in ("default", "default_factory"):
                self._add_attribute(attribute, name, value)
        elif isinstance(value, dict | list | set) or _is_instance(value):
            self.add_container(name, value)

    def _add_function(self, name: str, function: Any) -> None:
        for attribute in ("__code__", "__defaults__", "__kwdefaults__"):
            self._add_attribute(attribute, name, function)
        if function.__kwdefaults__:
            self.add_container(f"{name}.__kwdefaults__", function.__kwdefaults__)
        for cell in function.__closure__ or ():
            if callable(cell_value(cell)):
                self._add_attribute("cell_contents", name, cell)

    def _add_attribute(self, attribute: str, name: str, owner: Any) -> None:
        kept = self.attributes.setdefault(attribute, Attributes())
        kept.names.append(name)
        kept.owners.append(owner)
        kept.values.append(getattr(owner, attribute))


_JUDGED_SPECIALS = (
    "__pydantic_fields__",
    "__init__",
    "__call__",
    "__post_init__",
    "__getitem__",
    "__iter__",
    "__len__",
)


def _is_constant(key: str) -> bool:
    """Tell whether what a name stands for keeps its entries: constants do, caches with small letters do not."""
    return key.isupper() or key == "__pydantic_fields__"


def _is_instance(value: Any) -> bool:
    """Tell whether a value is a record of our own, whose fields are constants."""
    kind = type(value)
    if kind.__module__.partition(".")[0] not in OWN or not hasattr(value, "__dict__"):
        return False
    frozen = is_dataclass(kind) and kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
    return frozen or (isinstance(value, BaseModel) and bool(kind.model_config.get("frozen")))
