"""Changes of nested tables that a command line names: KEY=VALUE, the key a dotted path."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from typing import Any

from harness.errors import UsageError


def apply_settings(raw: dict[str, Any], settings: list[str]) -> None:
    """Change entries of nested tables by KEY=VALUE, the key a dotted path, the value TOML or plain text."""
    for setting in settings:
        _apply(raw, setting)


def describe_settings(settings: Sequence[str]) -> dict[str, str]:
    """Return the settings by the dotted path that each changes, as messages name them."""
    return {_key(setting): f"--set {setting}" for setting in settings}


def _key(setting: str) -> str:
    """Return the dotted path that a setting changes."""
    return setting.partition("=")[0].strip()


def _apply(raw: dict[str, Any], setting: str) -> None:
    key, (_, equals, text) = _key(setting), setting.partition("=")
    if not equals or not key:
        raise UsageError(f'--set is "{setting}"; expected KEY=VALUE, for example --set n_images=200')
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()

    # walk down to the table or list of the last key
    *folders, last = key.split(".")
    place: Any = raw
    for folder in folders:
        place = place[_index(place, folder, setting)] if isinstance(place, list) else place.setdefault(folder, {})
        if not isinstance(place, dict | list):
            raise UsageError(f'--set {setting}: "{folder}" is a single value and holds no "{last}"')
    place[_index(place, last, setting) if isinstance(place, list) else last] = value


def _index(place: list[Any], text: str, setting: str) -> int:
    if not text.isdecimal() or int(text) >= len(place):
        raise UsageError(f'--set {setting}: "{text}" is not an index of a list of {len(place)}')
    return int(text)
