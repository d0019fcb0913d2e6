"""What a person states at an import, since no file says it; each format has a closed list of keys."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.errors import UsageError, did_you_mean

COMMON_STATEMENTS = ("licence", "weights")
"""Keys of every format: the licence of the weights, and whether they are "ema" or "raw"."""


def parse_statements(texts: Sequence[str]) -> dict[str, Any]:
    """Return KEY=VALUE texts as a mapping, each value TOML or plain text; UsageError for another form."""
    stated: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise UsageError(f'--state is "{text}"; expected KEY=VALUE, for example --state process=flow')
        try:
            stated[key.strip()] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            stated[key.strip()] = value.strip()
    return stated


def check_statements(stated: Mapping[str, Any], keys: Iterable[str], form: str) -> None:
    """Raise UsageError for a statement that a format has no use for, or a wrong one of those that all have."""
    known = [*COMMON_STATEMENTS, *keys]
    for key in stated:
        if key not in known:
            raise UsageError(f'format "{form}" takes no statement "{key}"{did_you_mean(key, known)}')
    if stated.get("weights", "ema") not in ("ema", "raw"):
        raise UsageError(f'weights is stated as "{stated["weights"]}"; expected "ema" or "raw"')


def stated_count(stated: Mapping[str, Any], key: str) -> int | None:
    """Return a whole number above 0 that is stated, or None; UsageError for another value."""
    value = stated.get(key)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise UsageError(f"{key} is stated as {value!r}; expected a whole number above 0")
    return value


def stated_choice(stated: Mapping[str, Any], key: str, choices: Iterable[str]) -> str | None:
    """Return one of several words that is stated, or None; UsageError for another value."""
    value = stated.get(key)
    if value is not None and value not in choices:
        raise UsageError(f'{key} is stated as "{value}"; expected one of {", ".join(choices)}')
    return value


def need_statement(path: Path, what: str, example: str) -> UsageError:
    """Return the error for a file that leaves something open which a person must state."""
    return UsageError(f"{path} does not say {what}; expected it stated, for example --state {example}")
