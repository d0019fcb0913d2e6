"""The verb `ls` with -v, and `ls results`."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from kit.cli_kit import Command

import harness

REFERENCE = Path(__file__).resolve().parents[3] / "results/reference"


@pytest.mark.parametrize(
    ("what", "name", "detail"),
    [
        ("methods", "schedule  edm ", "rho = 7.0"),
        ("methods", "executor  serial ", "no parameters"),
        ("datasets", "cifar10-16 ", "10 classes; licence: none stated by the authors"),
        ("suites", "quick ", "N = 1,200; "),
        ("networks", "unet-8 ", " = "),
        ("zoo", "unet-16 ", " MB; SHA-256 "),
    ],
)
def test_each_item_has_a_further_line(command: Command, what: str, name: str, detail: str) -> None:
    said = command("ls", what, "-v")
    assert (said.code, said.err) == (0, "")
    lines = said.out.splitlines()
    place = next(place for place, line in enumerate(lines) if line.startswith(name))
    assert lines[place + 1].startswith("    ")
    assert detail in lines[place + 1]
    assert [line for line in lines if not line.startswith("    ")] == command("ls", what).out.splitlines()


def test_where_no_more_is_known_it_says_so(command: Command) -> None:
    said = command("ls", "extractors", "-v")
    assert said.code == 2
    assert "of extractors the list has all that is known; expected -v with methods, datasets" in said.err


def test_results_are_listed_with_verdicts_device_commit_dates_and_size(command: Command) -> None:
    plain = command("ls", "results", "--results", REFERENCE).out.splitlines()
    assert [line.split()[0] for line in plain] == sorted(path.parent.name for path in REFERENCE.glob("*/store.json"))
    said = command("ls", "results", "-v", "--results", REFERENCE).out.splitlines()
    assert said[::2] == plain
    digits = said[1 + 2 * [line.split()[0] for line in plain].index("digits")]
    rows = harness.load(REFERENCE / "digits").trials
    (device,), (sha,) = set(rows["device_name"]), set(rows["git_sha"])
    assert f"{len(rows)} VALID, 0 INVALID, 0 failed, 0 of other plans; {device}; commit {sha[:12]}; 20" in digits
    assert digits.endswith(" MB")


def test_a_folder_that_cannot_be_read_hides_no_other(command: Command, tmp_path: Path) -> None:
    shutil.copytree(REFERENCE / "quick", tmp_path / "quick")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/store.json").write_text("{")
    lines = command("ls", "results", "-v", "--results", tmp_path).out.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("bad    ")
    assert lines[1].startswith("quick  ")


def test_no_results_are_a_line(command: Command, tmp_path: Path) -> None:
    assert command("ls", "results", "--results", tmp_path).out == f"no results in {tmp_path}\n"
