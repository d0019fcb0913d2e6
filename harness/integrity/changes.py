"""Finds and restores what is not as a snapshot holds it.

Everything is compared by identity, never by `==`, which a method could define. A look at thousands of names takes about
a millisecond, because the usual case, where nothing changed, runs in C.

A method could replace these functions too. So they run as copies with globals of their own, see `sealed_functions`.
"""

from __future__ import annotations

import builtins
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from operator import attrgetter, is_
from types import FunctionType, ModuleType
from typing import Any

from harness.integrity.watched import COMPILER, LATE, LATE_MAKERS, LAZY

MISSING = object()
"""Stands for a name that is not there."""


@dataclass(frozen=True)
class Change:
    """One thing that is not as it was: its name, what is there now, and what puts back what was there."""

    name: str
    found: Any
    restore: Callable[[], None]


@dataclass(frozen=True, eq=False)
class Entries:
    """The entries of a namespace, list, table or set, as they were."""

    name: str
    owner: Any
    """What holds them; for a namespace the module, the class or the instance."""
    live: Any
    """What is read: the entries as they are."""
    keys: tuple[Any, ...]
    values: tuple[Any, ...]
    is_library: bool = False


@dataclass(eq=False)
class Attributes:
    """One attribute of many objects, as it was."""

    names: list[str] = field(default_factory=list)
    owners: list[Any] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)


@dataclass(frozen=True)
class Kept:
    """All that a snapshot holds."""

    modules: Mapping[str, ModuleType]
    tables: tuple[Entries, ...]
    attributes: Mapping[str, Attributes]


@dataclass(frozen=True)
class Undone:
    """A change that was undone: its name, what was found, and whether it is restored."""

    name: str
    found: Any
    is_restored: bool


def undo_changes(then: Kept, known: frozenset[tuple[str, int]]) -> list[Undone]:
    """Restore all that is not as it was, but for `known` changes; return what that was."""
    return [undo(change) for change in find_changes(then) if (change.name, id(change.found)) not in known]


def undo(change: Change) -> Undone:
    """Restore one change."""
    try:
        change.restore()
    except Exception:  # whatever a method put there
        return Undone(change.name, change.found, is_restored=False)
    return Undone(change.name, change.found, is_restored=True)


def find_changes(then: Kept) -> list[Change]:
    """Return what is not as it was, in the order in which it was added."""
    return [
        *_changed_modules(then.modules),
        *(change for table in then.tables if not _is_same_table(table) for change in _changed_entries(table)),
        *(change for name, kept in then.attributes.items() for change in _changed_attributes(name, kept)),
    ]


def _is_same_table(table: Entries) -> bool:
    live = table.live
    if len(live) != len(table.values):
        return False
    if not table.keys:
        return all(map(is_, live, table.values))
    return all(map(is_, live.values(), table.values)) and tuple(live) == table.keys


def _changed_modules(modules: Mapping[str, ModuleType]) -> Iterator[Change]:
    for name, module in modules.items():
        if (found := sys.modules.get(name)) is not module:
            yield Change(f"the module {name}", found, partial(_set_module, name, module))


def _set_module(name: str, module: ModuleType) -> None:
    sys.modules[name] = module


def _changed_entries(table: Entries) -> Iterator[Change]:
    """Yield the changed entries of a namespace or a table; a list or a set is one change."""
    if isinstance(table.live, list | set):
        if not _same_members(table):
            found = next((one for one in table.live if all(one is not old for old in table.values)), None)
            yield Change(table.name, found, partial(_refill, table))
        return

    then, now = dict(zip(table.keys, table.values, strict=True)), dict(table.live)
    for key in {**then, **now}:
        old, new = then.get(key, MISSING), now.get(key, MISSING)
        if old is not new and not _may_change(table, key, old, new):
            name = f"{table.name}[{key!r}]" if table.live is table.owner else f"{table.name}.{key}"
            yield Change(name, new, partial(_put_back, table, key, old))


def _same_members(table: Entries) -> bool:
    now, then = [id(one) for one in table.live], [id(one) for one in table.values]
    return sorted(now) == sorted(then) if isinstance(table.live, set) else now == then


def _may_change(table: Entries, key: Any, old: Any, new: Any) -> bool:
    """Tell whether a name may change: a library's own state, a name that Python sets, an imported submodule."""
    if table.live is table.owner:
        return False  # no namespace
    if key in LAZY or (old is MISSING and not callable(new) and key.startswith("__") and key.endswith("__")):
        return True  # such as what copying notes of a class
    if old is MISSING and isinstance(table.owner, ModuleType) and _is_of_compiler(key, new):
        return True
    if table.is_library and (_is_late(f"{table.name}.{key}", new) or _is_state(key, old, new)):
        return True
    if old is not MISSING or not isinstance(table.owner, ModuleType) or not isinstance(new, ModuleType):
        return False
    return new.__name__ == f"{table.owner.__name__}.{key}" and sys.modules.get(new.__name__) is new


def _is_of_compiler(key: str, new: Any) -> bool:
    """Tell whether torch's compiler noted something under a new name that only the code reads that it makes.

    That is a loaded module, the builtins, a call of compiled code, or a function's rest after a break.
    """
    if key.startswith("__import_"):
        name = key.removeprefix("__import_").replace("_dot_", ".")
        return isinstance(new, ModuleType) and sys.modules.get(name) is new
    if key.startswith("__compiled_fn_"):
        return isinstance(new, FunctionType) and _is_code_of(new, COMPILER)
    if key.startswith("__resume_at_"):
        return isinstance(new, FunctionType)
    return key.startswith("__builtins_dict__") and new is vars(builtins)


def _is_state(key: str, old: Any, new: Any) -> bool:
    """Tell whether a library keeps its own state under a name."""
    return key.startswith("_") and not callable(old) and not callable(new)


def _is_late(name: str, new: Any) -> bool:
    """Tell whether a library sets a name late."""
    if name in LATE or not isinstance(new, FunctionType):
        return name in LATE
    return new.__module__ in LATE_MAKERS and _is_code_of(new, new.__module__)


def _is_code_of(function: FunctionType, module: str) -> bool:
    """Tell whether a function's code is that of a loaded module."""
    maker = sys.modules.get(module)
    if maker is None:
        return False
    return function.__globals__ is vars(maker) and function.__code__.co_filename == vars(maker).get("__file__")


def _put_back(table: Entries, key: Any, old: Any) -> None:
    if isinstance(table.owner, type):
        if old is MISSING:
            type.__delattr__(table.owner, key)
        else:
            type.__setattr__(table.owner, key, old)
    elif old is MISSING:
        del table.live[key]
    else:
        table.live[key] = old


def _refill(table: Entries) -> None:
    table.live.clear()
    (table.live.update if isinstance(table.live, set) else table.live.extend)(table.values)


def _changed_attributes(attribute: str, kept: Attributes) -> Iterator[Change]:
    read = attrgetter(attribute)
    try:
        if all(map(is_, map(read, kept.owners), kept.values)):
            return
    except (AttributeError, ValueError):
        pass  # one is gone: found below

    for name, owner, old in zip(kept.names, kept.owners, kept.values, strict=True):
        found = _attribute_of(owner, attribute)
        if found is not old:
            shown = name if attribute in ("__code__", "cell_contents") else f"{name}, its {attribute.strip('_')}"
            yield Change(shown, found, partial(setattr, owner, attribute, old))


def _attribute_of(owner: Any, attribute: str) -> Any:
    try:
        return getattr(owner, attribute)
    except (AttributeError, ValueError):
        return MISSING


def sealed_functions() -> dict[str, Any]:
    """Return copies of this module's functions by name.

    They call each other, and the builtins as they are now, whatever is later done to the names of this module.
    """
    sealed: dict[str, Any] = {**globals(), "__builtins__": dict(vars(builtins))}
    for name, value in globals().items():
        if isinstance(value, FunctionType) and value.__module__ == __name__:
            sealed[name] = FunctionType(value.__code__, sealed, name, value.__defaults__, value.__closure__)
    return sealed
