"""How the next commands are typed where this process runs: the same Python, the same installation."""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import sys
from pathlib import Path


def python_command() -> str:
    """Return how the running Python is called: by its name if that finds it, else by its path, short if it is near."""
    return _shortest(Path(sys.executable), ("python", "python3"))


def oneclock_command() -> str:
    """Return how this command line is called: by its script if it has one, else as a module."""
    script = Path(sys.executable).with_name("oneclock")
    return _shortest(script, ("oneclock",)) if script.is_file() else f"{python_command()} -m harness"


def install_command(folder: str) -> str:
    """Return how a package is installed for the running Python, without any network."""
    options = f"--no-deps --no-build-isolation -e ./{folder}"
    if importlib.util.find_spec("pip") is not None:
        return f"{python_command()} -m pip install -q {options}"
    return f"uv pip install -q --python {python_command()} {options}"


def _shortest(program: Path, names: tuple[str, ...]) -> str:
    for name in names:
        found = shutil.which(name)
        if found is not None and Path(found).absolute() == program.absolute():
            return name
    near = os.path.relpath(program.absolute())
    return shlex.quote(str(program) if near.startswith("..") else near)
