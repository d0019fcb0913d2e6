"""The page of the Python interface has every public name that plug-ins and notebooks build on, and no other."""

from __future__ import annotations

import importlib
import inspect
import re

from kit.docs_kit import DOCS

import harness
from methods import grids, parts
from methods.networks import base

LISTED = re.findall(r"^::: (\S+)$", (DOCS / "api.md").read_text(encoding="utf-8"), re.M)


def home(module: str, name: str) -> str:
    """Return where a name is defined: the site reads sources, and follows no import."""
    found = getattr(importlib.import_module(module), name)
    if inspect.isclass(found) or inspect.isfunction(found):
        return f"{found.__module__}.{found.__qualname__}"
    return f"{module}.{name}"


def public() -> set[str]:
    """Return what must be listed."""
    grid = [name for name, found in vars(grids).items() if inspect.isfunction(found) and not name.startswith("_")]
    return {
        *(home("methods.parts", name) for name in parts.__all__ if name != "Job"),
        "methods.preparing.Job",
        *(home("methods.grids", name) for name in grid),
        *(home("harness", name) for name in harness.__all__ if not name.startswith("_")),
        *(f"{base.__name__}.{name}" for name in ("Network", "NetworkParams", "DataShape")),
    }


def test_every_public_name_is_there_once_and_no_other() -> None:
    assert sorted(LISTED) == sorted(public())


def test_each_exists_and_says_what_it_is() -> None:
    for path in LISTED:
        module, _, name = path.rpartition(".")
        found = getattr(importlib.import_module(module), name)
        if inspect.isclass(found) or inspect.isfunction(found):
            assert inspect.getdoc(found), path
