"""What the tests of the verb `new` share: its files in a folder of their own, made known without installing them."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.cli.new.method import create_method
from harness.errors import UsageError
from kit.faulty import known_here

EXAMPLES = {
    "solver": "my-euler",
    "schedule": "my-levels",
    "denoiser": "my-forecast",
    "executor": "my-groups",
}
"""A name for a new method of each part."""


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    """Make a folder the current one for a while."""
    folder.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield


def create_examples(folder: Path) -> list[str]:
    """Write a package of every part into a folder; return what was printed."""
    with inside(folder):
        return [line for part, name in EXAMPLES.items() for line in create_method(part, name)]


def make_known(package: Path, site: Path) -> None:
    """Write what installing a package would leave in a folder of the path: its metadata, and a way to its modules."""
    project = tomllib.loads((package / "pyproject.toml").read_text())["project"]
    info = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    points = "".join(
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in entries.items())
        for group, entries in project["entry-points"].items()
    )
    (info / "entry_points.txt").write_text(points)
    for module in package.glob("*.py"):
        (site / module.name).write_text(module.read_text())


@contextmanager
def all_known(folder: Path) -> Iterator[Path]:
    """Let this process know the packages of a folder for a while; yields the folder that holds them as installed."""
    site = folder / "site"
    for package in sorted(folder.glob("*/pyproject.toml")):
        make_known(package.parent, site)
    with known_here(str(site)):
        yield site


def draw_pictures(folder: Path, n: int, size: tuple[int, int] = (8, 8), mode: str = "L", seed: int = 0) -> Path:
    """Write n different pictures of a size and a colour mode; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    for number in range(n):
        values = random.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(values).convert(mode).save(folder / f"{number:04}.png")
    return folder


def said_by(lines: Iterator[str]) -> str:
    """Return the one sentence with which a command refuses."""
    with pytest.raises(UsageError) as caught:
        list(lines)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    return str(caught.value)
