"""The README is true: its method runs, its card loads, its commands parse, its links lead somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.api import plan
from harness.cli.app import app
from harness.data.cards import load_card
from harness.planning.quality_checks import feature_count

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def block(language: str, start: str) -> str:
    found = [b for b in re.findall(rf"```{language}\n(.*?)```", README, re.S) if b.startswith(start)]
    assert len(found) == 1
    return found[0]


def test_the_example_method_is_a_schedule() -> None:
    names: dict[str, object] = {}
    exec(block("python", "# methods/schedules"), names)
    levels = names["SquareRoot"]().levels(4, 0.01, 4.0)  # type: ignore[operator]
    assert levels[0] == 4.0
    assert levels[-1] == 0.01
    assert np.allclose(np.diff(np.sqrt(levels)), -(2.0 - 0.1) / 4)


def test_the_example_sampler_makes_the_images_that_it_says() -> None:
    names: dict[str, Any] = {}
    exec(block("python", "from harness import make_sampler"), names)
    images = names["images"]
    assert f"{str(images.dtype).removeprefix('torch.')}, {' x '.join(map(str, images.shape))}" in README


def test_the_example_card_loads(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(block("toml", "# datasets/mine.toml"))
    card = load_card(str(path))
    assert (card.name, card.resolution, card.splits["train"].n) == ("mine", 32, 1000)


def test_the_example_suite_can_be_planned_and_has_images_enough(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(block("toml", "# mine.toml"))
    made = plan(str(path))
    assert [planned.trial.printed_name for planned in made.trials] == [
        "unet-8:ddim-10", "unet-8:ddim-20", "unet-8:dpmpp-2m-5", "unet-8:dpmpp-2m-10", "unet-8:dpmpp-2m@logsnr-5",
        "unet-8:dpmpp-2m@logsnr-10",
    ]  # fmt: skip
    features = feature_count(made.trials[0].row.extractor, made.trials[0].trial.dataset)
    assert f"more than {features} on {made.suite.extractor}" in path.read_text()


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
