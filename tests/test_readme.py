"""The README is true: its sampler runs, its commands parse, its links lead somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from harness.cli.app import app

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def block(language: str, start: str) -> str:
    found = [b for b in re.findall(rf"```{language}\n(.*?)```", README, re.S) if b.startswith(start)]
    assert len(found) == 1
    return found[0]


def test_the_example_sampler_makes_the_images_that_it_says() -> None:
    names: dict[str, Any] = {}
    lines = block("python", "import harness").splitlines()
    exec("\n".join([lines[0], *(line for line in lines if line.startswith(("sampler", "images")))]), names)
    images = names["images"]
    assert f"{str(images.dtype).removeprefix('torch.')}, {' x '.join(map(str, images.shape))}" in README


def test_it_is_read_in_a_few_minutes() -> None:
    assert len(README.splitlines()) <= 150


@pytest.mark.parametrize("target", sorted(set(re.findall(r"^    make ([a-z-]+)", README, re.M))))
def test_make_targets_exist(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.M)


@pytest.mark.parametrize("line", re.findall(r"^    \.venv/bin/oneclock (.*)$", README, re.M))
def test_command_lines_parse(line: str) -> None:
    import typer

    words = shlex.split(line.partition("#")[0])
    command = typer.main.get_command(app)
    verb = command.commands[words[0]]  # type: ignore[attr-defined]
    verb.make_context(words[0], words[1:])


@pytest.mark.parametrize("target", re.findall(r"\]\(([a-z][^):]*)\)", README))
def test_links_lead_to_files(target: str) -> None:
    assert (ROOT / target).exists()
