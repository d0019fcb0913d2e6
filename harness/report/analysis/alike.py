"""Which rows are alike: a part is its name with all its parameters, a network its card with its weights.

Names alone pair rows that differ, and display names may be labels of the suite's; so what is paired, grouped or drawn
as one line is told apart here.
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


def parameters(row: Series, part: str) -> Mapping[str, Any]:
    """Return the resolved parameters of a row's part."""
    return _parsed(row["params_json"]).get(part) or {}


def part_key(row: Series, part: str) -> str:
    """Return what two rows share if and only if they have the same part with the same parameters."""
    return canonical_json([row[part], dict(parameters(row, part))])


def parts_key(row: Series, parts: Iterable[str] = PARTS) -> str:
    """Return the keys of several parts as one."""
    return canonical_json([part_key(row, part) for part in parts])


def alike(rows: DataFrame, row: Series, parts: Iterable[str], columns: Iterable[str] = ()) -> Series:
    """Return which rows have the row's network, these parts with all their parameters, and these columns."""
    parts = tuple(parts)
    same = Series([parts_key(other, parts) == parts_key(row, parts) for _, other in rows.iterrows()], rows.index, bool)
    for column in (*_NETWORK, *columns):
        same &= rows[column] == row[column]
    return same


def part_names(rows: DataFrame, part: str) -> Series:
    """Return a part's name for every row, different wherever the part or any of its parameters is.

    It is as the display name of the row, or of another with the same part, has it; where several parts would be called
    the same, the parameters in which these differ are named.
    """
    keys = [part_key(row, part) for _, row in rows.iterrows()]
    spelled = [_spelled(row, part) for _, row in rows.iterrows()]
    known: dict[str, str] = {}
    for key, name in sorted(zip(keys, spelled, strict=True), key=str):
        if name is not None:
            known.setdefault(key, name)
    names = [
        name or known.get(key, str(bare)) for name, key, bare in zip(spelled, keys, rows[part].astype(str), strict=True)
    ]
    bearers: dict[str, set[str]] = {}
    for name, key in zip(names, keys, strict=True):
        bearers.setdefault(name, set()).add(key)
    told = [_told(name, key, bearers[name]) for name, key in zip(names, keys, strict=True)]
    return Series(told, rows.index, dtype=object)


@lru_cache(maxsize=4096)
def _parsed(params_json: str) -> Mapping[str, Mapping[str, Any]]:
    found: Mapping[str, Mapping[str, Any]] = json.loads(params_json or "{}")
    return found


def _spelled(row: Series, part: str) -> str | None:
    """Return a part with its parameters as the row's display name has it; None where it is not in there."""
    if part not in _PLACES:
        return None
    before, after = _PLACES[part]
    found = re.search(rf"{before}({re.escape(row[part])}(?:\([^()]*\))?){after}", row["method"])
    return found[1] if found else None


def _told(name: str, key: str, bearers: set[str]) -> str:
    """Return the name, with the parameters in which those that bear it differ where they are several."""
    if len(bearers) == 1:
        return name
    bare, mine = json.loads(key)
    every = [json.loads(other)[1] for other in bearers]
    differing = sorted(k for k in {k for one in every for k in one} if len({_text(one, k) for one in every}) > 1)
    return f"{bare}({','.join(f'{k}={_text(mine, k)}' for k in differing)})"


def _text(params: Mapping[str, Any], name: str) -> str:
    """Return a parameter's value in words, "none" where the part has no such parameter."""
    return str(params[name]) if name in params else "none"
