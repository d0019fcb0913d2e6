"""The examples of the documentation are what `oneclock new` writes.

Write them anew with `python -P tests/docs/test_examples.py`.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "docs" / "examples"
WRITTEN = {"solver": "my-euler", "schedule": "my-levels", "denoiser": "my-forecast", "executor": "my-groups"}


def module_of(name: str) -> str:
    return f"{name.replace('-', '_')}.py"


def write_packages(folder: Path) -> None:
    """Write a package of every part into a folder."""
    from harness.cli.new.method import create_method

    here = Path.cwd()
    os.chdir(folder)
    try:
        for part, name in WRITTEN.items():
            list(create_method(part, name))
    finally:
        os.chdir(here)


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packages")
    write_packages(folder)
    return folder


@pytest.mark.parametrize("name", WRITTEN.values())
def test_an_example_is_what_new_writes(packages: Path, name: str) -> None:
    assert (EXAMPLES / module_of(name)).read_text() == (packages / name / module_of(name)).read_text()


def test_every_example_is_on_a_page() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs" / "plugins").glob("*.md"))
    assert all(f"--8<--\n{example.name}\n--8<--\n" in text for example in EXAMPLES.glob("*.py"))


if __name__ == "__main__":
    sys.path[:0] = [str(ROOT)]
    with tempfile.TemporaryDirectory() as made:
        write_packages(Path(made))
        for name in WRITTEN.values():
            (EXAMPLES / module_of(name)).write_text((Path(made) / name / module_of(name)).read_text())
