"""Code that a user names as FILE.py:NAME: found without running it, hashed with its imports, and loaded."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from functools import cache
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any


def find_code(target: str) -> tuple[Path, str]:
    """Return the file and the name in "FILE.py:NAME", the file relative to the working folder.

    Raises ValueError, in one sentence, for a target of another form, a file that is not there or is no Python, and a
    name that the file does not bind at its top. Nothing of it is run.
    """
    file, colon, name = target.rpartition(":")
    if not colon or not file.endswith(".py") or not name.isidentifier():
        raise ValueError(f'"{target}" names no code; expected FILE.py:NAME, such as mine.py:my_sampler')
    path = Path(file)
    if not path.is_file():
        raise ValueError(f"{file} does not exist; expected a Python file, named from the working folder")

    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError) as error:
        raise ValueError(f"{file} cannot be read as Python ({error}); expected code that imports") from None
    names = sorted(set(_bound_names(tree)))
    if name not in names:
        there = f"it has {', '.join(names[:8])}" if names else "it has none"
        raise ValueError(f"{file} has no {name} at its top; {there}; expected FILE.py:NAME")
    return path, name


def find_kind(target: str) -> str:
    """Return "sampler" for code that takes (network, noise, steps) and "pipeline" for (noise, steps).

    Raises ValueError, in one sentence, for code that takes neither, or is bound by no `def` that would say.
    """
    path, name = find_code(target)
    wanted = f"def {name}(network, noise, steps) or def {name}(noise, steps)"
    defined = [node for node in ast.parse(path.read_bytes()).body if isinstance(node, ast.FunctionDef)]
    found = [node.args for node in defined if node.name == name]
    if not found:
        raise ValueError(
            f"{path} binds {name} by no def, so its parameters are not known; expected {wanted}, or a suite "
            f"whose trial says which, as sampler or as pipeline"
        )

    given = found[-1]
    named = [one.arg for one in (*given.posonlyargs, *given.args)]
    least = len(named) - len(given.defaults)
    needs_more = any(default is None for default in given.kw_defaults)
    fits = {kind: least <= n <= len(named) for kind, n in (("sampler", 3), ("pipeline", 2)) if not needs_more}
    kinds = [kind for kind, is_fit in fits.items() if is_fit]
    if len(kinds) == 2:  # of a default: the first name says which
        kinds = {"network": ["sampler"], "noise": ["pipeline"]}.get(named[0], [])
    if not kinds:
        raise ValueError(f"{path} has {name}({', '.join(named)}); expected {wanted}")
    return kinds[0]


def _bound_names(tree: ast.Module) -> Iterator[str]:
    """Yield the names that functions, classes, assignments and imports bind at the top of a module."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign):
            yield from (one.id for one in node.targets if isinstance(one, ast.Name))
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name for alias in node.names)


def hash_code(path: Path) -> tuple[str, dict[str, str]]:
    """Return the SHA-256 of a file and all that it imports of its own folder, and the versions of its libraries."""
    files, libraries, todo = dict[Path, str](), set[str](), [path.resolve()]
    while todo:
        file = todo.pop()
        if file in files:
            continue
        data = file.read_bytes()
        files[file] = hashlib.sha256(data).hexdigest()
        for top in _imported_tops(data):
            beside = _files_beside(path.resolve().parent, top)
            todo += beside
            libraries |= set() if beside else {top}

    code = hashlib.sha256("".join(sorted(files.values())).encode()).hexdigest()
    known = _distributions()
    found = {one for name in libraries for one in known.get(name, ())}
    return code, {name: version(name) for name in sorted(found)}


def _imported_tops(source: bytes) -> Iterator[str]:
    """Yield the top packages that import statements name, at any depth; none of a file that is no Python of today."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return

    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def _files_beside(folder: Path, name: str) -> list[Path]:
    """Return the files of a module or package in a folder; none where it is installed elsewhere."""
    if (folder / f"{name}.py").is_file():
        return [folder / f"{name}.py"]
    return sorted((folder / name).rglob("*.py"))


@cache
def _distributions() -> dict[str, list[str]]:
    return {name: sorted(set(found)) for name, found in packages_distributions().items()}


@cache
def load_code(target: str, sha256: str) -> Callable[..., Any]:
    """Return what a target names, imported once in a process for each hash; whatever its import raises.

    Raises ValueError where the name is nothing that can be called.
    """
    path, name = find_code(target)
    module_name = f"wrapped_{sha256[:16]}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module

    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(folder)
    found = getattr(module, name)
    if not callable(found):
        raise ValueError(f"{target} is a {type(found).__name__}; expected a function")
    return found
