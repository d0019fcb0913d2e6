"""A suite made of another: `base` names it, `changes` says what differs in all of its trials.

The keys of the file itself lie over those of the base, table by table; a list takes the place of the base's. So a
suite of smaller networks has the very trials of its base, and none that is added there can be forgotten here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import Field, PositiveInt

from harness.config.toml_files import lay_over, read_toml, validated
from harness.errors import UsageError, did_you_mean
from harness.specs.base import Closed, Json

BASE, CHANGES = "base", "changes"
_PARTS = ("denoiser", "schedule", "solver", "executor")


class Changes(Closed):
    """What differs in the trials and the baseline of the base; what changes nothing there is refused."""

    steps: dict[str, PositiveInt] = Field(default_factory=dict)
    """Step counts by the base's, such as `{ 1000 = 24 }`."""
    denoiser: dict[str, Json] = Field(default_factory=dict)
    """Parameters by method, such as `{ adadiff = { tune_steps = 2 } }`: in place of those that the base states."""
    schedule: dict[str, Json] = Field(default_factory=dict)
    solver: dict[str, Json] = Field(default_factory=dict)
    executor: dict[str, Json] = Field(default_factory=dict)


def resolve_base(raw: dict[str, Any], path: Path, find: Callable[[str], Path | None]) -> dict[str, Any]:
    """Return a suite's tables with those of its base below them; without a base the tables as they are.

    `find` returns the file of a suite that ships with the project, None for another name.

    Raises UsageError for a base that is unknown or has a base itself, and for changes that change nothing.
    """
    if BASE not in raw:
        return raw
    name, given = raw[BASE], raw.get(CHANGES, {})
    own = {key: value for key, value in raw.items() if key not in (BASE, CHANGES)}
    base = _read_base(name, path, find)
    changes = validated(Changes, given, f"suite {path.name}, [changes]")

    labels = {entry.get("label") for entry in base.get("trials", []) if isinstance(entry, dict)}
    trials = [changed_control(_changed_entry(entry, changes), changes, labels) for entry in base.get("trials", [])]
    tables = {**base, "trials": trials}
    if "baseline" in base:
        tables["baseline"] = _changed_entry(base["baseline"], changes)
    _refuse_idle(changes, base, f"suite {path.name}")
    return lay_over(tables, own)


def _read_base(name: Any, path: Path, find: Callable[[str], Path | None]) -> dict[str, Any]:
    found = find(name) if isinstance(name, str) else None
    if found is None:
        raise UsageError(
            f"suite {path.name}: base is {name!r}; expected the name of a suite that ships with the project"
        )
    base = read_toml(found)
    if BASE in base:
        raise UsageError(f'suite {path.name}: base is "{name}", which has a base itself; expected "{base[BASE]}"')
    return base


def _changed_entry(entry: Any, changes: Changes) -> Any:
    """Return an entry, or the baseline, with other step counts and parameters."""
    if not isinstance(entry, dict):
        return entry
    changed = dict(entry)
    for key in ("steps", "clock_steps"):
        if key in changed:
            changed[key] = _map(changed[key], lambda n: changes.steps.get(str(n), n))
    for part in _PARTS:
        if part in changed:
            changed[part] = _map(changed[part], partial(_changed_part, changes=getattr(changes, part)))
    return changed


def changed_control(entry: Any, changes: Changes, labels: Collection[Any]) -> Any:
    """Return an entry in which METHOD-STEPS, whose control it is, has other steps; a label may end in a number too."""

    def change(name: Any) -> Any:
        method, _, steps = str(name).rpartition("-")
        return name if name in labels or steps not in changes.steps else f"{method}-{changes.steps[steps]}"

    if not isinstance(entry, dict) or "control_of" not in entry:
        return entry
    return {**entry, "control_of": _map(entry["control_of"], change)}


def _changed_part(part: Any, changes: Mapping[str, Json]) -> Any:
    """Return a part with the changed ones among the parameters that it states."""
    if not isinstance(part, dict):
        return part
    new = changes.get(str(part.get("name")), {})
    return {key: new.get(key, value) for key, value in part.items()}


def _map(value: Any, change: Callable[[Any], Any]) -> Any:
    """Return a value, or every item of a list, changed."""
    return [change(item) for item in value] if isinstance(value, list) else change(value)


def _refuse_idle(changes: Changes, base: Mapping[str, Any], where: str) -> None:
    """Raise UsageError for a step count or a parameter that the base does not state."""
    entries = [entry for entry in (*base.get("trials", []), base.get("baseline")) if isinstance(entry, dict)]
    counts = {str(n) for entry in entries for key in ("steps", "clock_steps") for n in _items(entry.get(key))}
    for n in changes.steps:
        if n not in counts:
            raise UsageError(f'{where}: changes.steps has "{n}", and its base has no such step count; remove it')

    for part in _PARTS:
        stated: dict[str, set[str]] = {}
        for one in (one for entry in entries for one in _items(entry.get(part)) if isinstance(one, dict)):
            stated.setdefault(str(one.get("name")), set()).update(one)
        for name, params in getattr(changes, part).items():
            if idle := sorted(set(params) - stated.get(name, set())):
                hint = did_you_mean(idle[0], sorted(stated.get(name, set()) - {"name"}))
                raise UsageError(
                    f'{where}: changes.{part}.{name} has "{idle[0]}", which its base states nowhere{hint}; remove it'
                )


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
