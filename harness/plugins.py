"""Loads a plug-in as it is installed, from any working folder.

Python looks into the working folder first. A folder there with the plug-in's name, such as that of its project, is
taken as a package without code ahead of an editable install.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any


def load_plugin(point: EntryPoint) -> Any:
    """Return what an entry point names; whatever its import raises.

    A plug-in that is found in the working folder alone is loaded from there.
    """
    name = point.module.partition(".")[0]
    _forget_namespace(name)
    with _without_working_folder():
        try:
            return point.load()
        except ModuleNotFoundError as error:
            if error.name is None or error.name.partition(".")[0] != name:
                raise  # the plug-in is there and lacks something else
    _forget_namespace(name)
    return point.load()


def _forget_namespace(name: str) -> None:
    """Let a top-level package be found anew if what was imported by this name is a mere folder."""
    found = sys.modules.get(name)
    if found is not None and getattr(found, "__file__", None) is None and hasattr(found, "__path__"):
        for module in [one for one in sys.modules if one == name or one.startswith(f"{name}.")]:
            del sys.modules[module]


@contextmanager
def _without_working_folder() -> Iterator[None]:
    """Leave the working folder out of the search path, however it came to be on it."""
    here = Path.cwd()
    kept = sys.path[:]
    sys.path[:] = [entry for entry in kept if entry and Path(entry).resolve() != here]
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path[:] = kept
