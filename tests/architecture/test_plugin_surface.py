"""What plug-ins build on: names and signatures of `methods.parts`. A change here is one that others must follow.

Write the list anew with `python -P tests/architecture/test_plugin_surface.py`, and CHANGELOG.md with it.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

SURFACE = Path(__file__).with_name("plugin_surface.txt")


def surface() -> Iterator[str]:
    """Yield every public name of the interfaces with its signature or its kind, sorted."""
    from methods import grids, parts

    for module in (parts, grids):
        for name in sorted(getattr(module, "__all__", None) or vars(module)):
            found = getattr(module, name)
            if name.startswith("_") or inspect.ismodule(found):
                continue
            if inspect.isclass(found):
                if found.__module__.startswith("methods"):
                    yield from _members(f"{module.__name__}.{name}", found)
            elif inspect.isfunction(found):
                yield f"{module.__name__}.{name}{inspect.signature(found)}"
            elif module is parts:
                yield f"{module.__name__}.{name}"


def _members(name: str, found: type) -> Iterator[str]:
    yield name
    for base in reversed(found.__mro__):
        if not base.__module__.startswith("methods"):
            continue
        own = {**inspect.get_annotations(base), **vars(base)}
        for member in sorted(own):
            if member.startswith("_") and member not in ("__call__", "__init__"):
                continue
            value = vars(base).get(member)
            text = str(inspect.signature(value)) if inspect.isfunction(value) else ""
            yield f"{name}.{member}{text}"


def test_the_surface_of_plug_ins_is_the_one_that_is_written_down() -> None:
    assert list(dict.fromkeys(surface())) == SURFACE.read_text(encoding="utf-8").splitlines()


if __name__ == "__main__":
    SURFACE.write_text("\n".join(dict.fromkeys(surface())) + "\n", encoding="utf-8")
