"""A plug-in loads from any working folder, also from the one that holds its project under the plug-in's own name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from kit.python_path import prepended

ROOT = Path(__file__).resolve().parents[2]
FINDER = """
import sys
from importlib.machinery import ModuleSpec, PathFinder

class Finder:  # as an editable install has: after the search path
    def find_spec(name, path=None, target=None):
        return PathFinder.find_spec(name, [{project!r}]) if name == "ralston" else None

sys.meta_path.append(Finder)
"""
TRIED = """
from importlib.metadata import EntryPoint
import editable
from harness.plugins import load_plugin
{first}
print(load_plugin(EntryPoint("ralston", "ralston", "harness.methods")).NAME)
"""


@pytest.mark.parametrize("first", ["", "import ralston; assert ralston.__file__ is None"], ids=["new", "imported"])
def test_a_folder_of_its_name_does_not_hide_an_installed_plug_in(tmp_path: Path, first: str) -> None:
    project = tmp_path / "ralston"
    (project / "ralston").mkdir(parents=True)
    (project / "ralston" / "__init__.py").write_text("NAME = 'the solver'\n")
    site = tmp_path / "site"
    site.mkdir()
    (site / "editable.py").write_text(FINDER.format(project=str(project)))
    assert _run(TRIED.format(first=first), tmp_path, site) == "the solver"


def test_one_that_is_found_in_the_working_folder_alone_is_loaded_from_there(tmp_path: Path) -> None:
    (tmp_path / "ralston.py").write_text("NAME = 'from here'\n")
    (tmp_path / "editable.py").write_text("")
    assert _run(TRIED.format(first=""), tmp_path) == "from here"


def test_what_a_plug_in_lacks_is_named(tmp_path: Path) -> None:
    (tmp_path / "ralston.py").write_text("import absent_library\n")
    (tmp_path / "editable.py").write_text("")
    with pytest.raises(AssertionError, match="No module named 'absent_library'"):
        _run(TRIED.format(first=""), tmp_path)


def _run(script: str, folder: Path, *paths: Path) -> str:
    """Return what Python prints that has the folder first on its search path, as without -P."""
    environment = {**os.environ, "PYTHONPATH": prepended(*paths, ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
