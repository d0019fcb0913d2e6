"""A wheel of the tree: built, looked into, installed where nothing else is, and run from there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

from harness.release.findings import ReleaseFinding

_BUILT_FROM = ("harness", "methods", "datasets")
_FILES = ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE")
_CARDS = "harness/data/shipped"
"""Where a wheel has what lies in datasets/."""
_SHOWN = 3
_PROBE = """
import json, harness
from harness.config.suite import suite_names
from harness.config.zoo_card import zoo_names
from harness.data.cards import card_names
from harness.version import VERSION
print(json.dumps({"file": harness.__file__, "version": VERSION, "suites": len(suite_names()),
                  "zoo": len(zoo_names()), "cards": len(card_names())}))
"""


class FailedStepError(Exception):
    """A step that others need did not succeed; its text says why."""


class WheelCheck:
    """The checks of one wheel in a folder that is thrown away. A step is done once, when it is first needed."""

    def __init__(self, root: Path, scratch: Path) -> None:
        """Take the source tree, and an empty folder outside of it."""
        self._root = root
        self._scratch = scratch

    @cached_property
    def wheel(self) -> Path:
        """Build the wheel from a copy of the tree and return it; FailedStepError where that fails."""
        source, out = self._scratch / "source", self._scratch / "wheel"
        out.mkdir()
        for name in _BUILT_FROM:
            shutil.copytree(self._root / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in _FILES:
            shutil.copy(self._root / name, source)
        build = f"from setuptools import build_meta; build_meta.build_wheel({str(out)!r})"
        _call([sys.executable, "-c", build], source, "the build")
        return next(out.glob("*.whl"))

    @cached_property
    def python(self) -> Path:
        """Install the wheel with the pins of requirements.lock into a new environment; return its Python."""
        place, uv = self._scratch / "environment", Path(sys.executable).with_name("uv")
        python = place / "bin" / "python"
        wanted = ["--constraint", str(self._root / "requirements.lock"), str(self.wheel)]
        if uv.is_file():
            _call([str(uv), "venv", "--quiet", "--python", sys.executable, str(place)], self._scratch, "uv venv")
            install = [str(uv), "pip", "install", "--quiet", "--python", str(python)]
        else:
            _call([sys.executable, "-m", "venv", str(place)], self._scratch, "venv")
            install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _call([*install, *wanted], self._scratch, "the installation")
        return python

    @cached_property
    def outside(self) -> Path:
        """Return an empty folder, from which no source is found."""
        place = self._scratch / "outside"
        place.mkdir()
        return place

    def check_contents(self) -> ReleaseFinding:
        """Compare the wheel's files with the tree's: cards, suites, zoo, templates, code."""
        lacking = sorted(expected_files(self._root) - set(zipfile.ZipFile(self.wheel).namelist()))
        if lacking:
            more = f" and {len(lacking) - _SHOWN} more" if len(lacking) > _SHOWN else ""
            found = f"{self.wheel.name} lacks {', '.join(lacking[:_SHOWN])}{more}"
            return ReleaseFinding("wheel", found, "name them in package-data of pyproject.toml")
        size = self.wheel.stat().st_size / 1e6
        return ReleaseFinding("wheel", f"{self.wheel.name}, {size:.1f} MB, has all files of the tree")

    def check_installed(self) -> ReleaseFinding:
        """Compare what the installed package finds with what the tree has."""
        found = json.loads(_call([str(self.python), "-c", _PROBE], self.outside, "the installed package"))
        expected = {
            "suites": len(list((self._root / "harness" / "suites").glob("*.toml"))),
            "zoo": len([path for path in (self._root / "methods" / "networks" / "zoo").iterdir() if path.is_dir()]),
            "cards": len(list((self._root / "datasets").glob("*.toml"))),
        }
        if not Path(found["file"]).resolve().is_relative_to(self.python.parents[1].resolve()):
            return ReleaseFinding("install", f"harness is imported from {found['file']}", "unset PYTHONPATH")
        wrong = [f"{found[name]} {name} for {count}" for name, count in expected.items() if found[name] < count]
        if wrong:
            return ReleaseFinding("install", f"the installed package finds {', '.join(wrong)}", "see the wheel's files")
        counts = ", ".join(f"{found[name]} {name}" for name in expected)
        return ReleaseFinding("install", f"version {found['version']} in an empty environment finds {counts}")

    def check_run(self, suite: str, options: Sequence[str]) -> ReleaseFinding:
        """Run a suite with the installed command, outside of the tree."""
        command = [str(self.python.with_name("oneclock")), "run", suite, "--results", "results", *options]
        started = time.monotonic()
        done = subprocess.run(command, cwd=self.outside, env=clean_variables(), stdout=subprocess.PIPE, check=False)
        minutes = (time.monotonic() - started) / 60
        if done.returncode:
            found = f"`oneclock {' '.join(command[1:])}` ended with exit code {done.returncode}"
            return ReleaseFinding("run", found, "see the lines above")
        rows = len(list(self.outside.glob("results/*/log/*.json")))
        return ReleaseFinding("run", f"{suite} outside of the source tree: {rows} rows, all VALID, {minutes:.1f} min")


def expected_files(root: Path) -> set[str]:
    """Return the files that a wheel of a tree must have, by their paths in it."""
    found = set()
    for room in _BUILT_FROM:
        for path in _files_below(root / room):
            name = path.relative_to(root).as_posix()
            if room == "datasets":
                in_cards = path.suffix == ".toml" or name.startswith("datasets/references/")
                found |= {f"{_CARDS}/{name.partition('/')[2]}"} if in_cards else set()
            else:
                found.add(name)
    return found


def clean_variables() -> dict[str, str]:
    """Return the environment without what leads Python, make or a run elsewhere."""
    away = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "RAY_ADDRESS", "MAKEFLAGS", "MAKELEVEL")
    return {name: value for name, value in os.environ.items() if name not in away}


def _files_below(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith("."):
            yield path


def _call(command: Sequence[str], place: Path, what: str) -> str:
    """Return what a command prints; FailedStepError with its last line where it fails."""
    done = subprocess.run(command, cwd=place, env=clean_variables(), capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        raise FailedStepError(f"{what} ended with exit code {done.returncode} ({lines[-1] if lines else 'no message'})")
    return done.stdout
