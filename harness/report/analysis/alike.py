"""Which rows are alike: equal parts with equal parameters, equal network cards and weights.

Names alone would pair rows that differ: a suite may label its trials.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from pandas import DataFrame, Series

from harness.identity import canonical_json

PARTS = ("denoiser", "schedule", "solver", "executor")
_NETWORK = ("network", "network_like", "weights", "weights_sha256")
_PLACES = {"denoiser": ("^", "/"), "solver": ("(?:^|/)", "(?:[@/]|$)"), "schedule": ("@", "(?:/|$)")}
"""Patterns before and after a part in a display name, which is denoiser/solver@schedule/..."""


def part_parameters(row: Series, part: str) -> Mapping[str, Any]:
    """Return the resolved parameters of a row's part."""
    return _parse_parameters(row["params_json"]).get(part) or {}


def method_part_key(row: Series, part: str) -> str:
    """Return a key that is equal exactly where the part and all its parameters are."""
    return canonical_json([row[part], dict(part_parameters(row, part))])


def method_parts_key(row: Series, parts: Iterable[str] = PARTS) -> str:
    """Return the keys of several parts as one."""
    return canonical_json([method_part_key(row, part) for part in parts])


def find_alike(rows: DataFrame, row: Series, parts: Iterable[str], columns: Iterable[str] = ()) -> Series:
    """Return a flag [rows]: whether the network, these parts and these columns equal those of `row`."""
    parts = tuple(parts)
    wanted = method_parts_key(row, parts)
    same = Series([method_parts_key(other, parts) == wanted for _, other in rows.iterrows()], rows.index, bool)

    for column in (*_NETWORK, *columns):
        same &= rows[column] == row[column]
    return same


def name_parts(rows: DataFrame, part: str) -> Series:
    """Return a name of the part [rows]; names differ where the part or a parameter does.

    A name is taken from the row's display name, else from that of a row with the same part.
    Where several parts would share it, the parameters in which they differ are added.
    """
    keys = [method_part_key(row, part) for _, row in rows.iterrows()]
    spelled = [_find_in_display_name(row, part) for _, row in rows.iterrows()]

    # rows without the part in their display name borrow it
    known: dict[str, str] = {}
    for key, name in sorted(zip(keys, spelled, strict=True), key=str):
        if name is not None:
            known.setdefault(key, name)
    names = [
        name or known.get(key, str(bare)) for name, key, bare in zip(spelled, keys, rows[part].astype(str), strict=True)
    ]

    # one name for several parts is made longer
    keys_by_name: dict[str, set[str]] = {}
    for name, key in zip(names, keys, strict=True):
        keys_by_name.setdefault(name, set()).add(key)
    distinct = [_name_with_differences(name, key, keys_by_name[name]) for name, key in zip(names, keys, strict=True)]
    return Series(distinct, rows.index, dtype=object)


@lru_cache(maxsize=4096)
def _parse_parameters(params_json: str) -> Mapping[str, Mapping[str, Any]]:
    found: Mapping[str, Mapping[str, Any]] = json.loads(params_json or "{}")
    return found


def _find_in_display_name(row: Series, part: str) -> str | None:
    """Return a part with its parameters as the display name has it; None if it is not in there."""
    if part not in _PLACES:
        return None
    before, after = _PLACES[part]
    found = re.search(rf"{before}({re.escape(row[part])}(?:\([^()]*\))?){after}", row["method"])
    return found[1] if found else None


def _name_with_differences(name: str, key: str, keys: set[str]) -> str:
    """Return the name, with the parameters in which the parts of this name (`keys`) differ."""
    if len(keys) == 1:
        return name
    bare, own = json.loads(key)
    every = [json.loads(other)[1] for other in keys]
    differing = sorted(
        k for k in {k for one in every for k in one} if len({_parameter_text(one, k) for one in every}) > 1
    )
    return f"{bare}({','.join(f'{k}={_parameter_text(own, k)}' for k in differing)})"


def _parameter_text(params: Mapping[str, Any], name: str) -> str:
    """Return a parameter's value as text, "none" where the part has no such parameter."""
    return str(params[name]) if name in params else "none"
