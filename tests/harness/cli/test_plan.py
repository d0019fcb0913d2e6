"""`oneclock plan`: every trial and what is measured already, notes and refusals, and nothing is written."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from kit.cli_kit import Command
from kit.toys import suite_file

from harness import api


@pytest.mark.parametrize(("suite_name", "trials"), [("known-answer", 18), ("quick", None)])
def test_plan_prints_every_trial_and_writes_nothing(
    command: Command, tmp_path: Path, suite_name: str, trials: int | None
) -> None:
    said = command("plan", suite_name, "--results", tmp_path / "results")
    assert said.code == 0
    rows = [line for line in said.out.splitlines() if line.startswith("to do ")]
    assert (
        len(rows) == len({" ".join(row.split()[-2:]) for row in rows}) == (trials or len(api.plan(suite_name).trials))
    )
    assert re.search(rf"\n{len(rows)} to do · (about|more than) ", said.out)
    assert not (tmp_path / "results").exists()


def test_plan_tells_what_is_already_measured(command: Command, suite: str, tmp_path: Path) -> None:
    results = tmp_path / "results"
    command("run", suite, "--results", results, "--only", "ddim-2")
    out = command("plan", suite, "--results", results).out
    assert out.splitlines()[0].split() == ["done", "VALID", "analytic:ddim-2"]
    assert "\n1 to do, 1 done · about " in out


@pytest.mark.parametrize("verb", ["plan", "run"])
def test_too_few_images_for_fid_are_refused_before_anything_is_written(
    command: Command, tmp_path: Path, verb: str
) -> None:
    few = ("--set", "dataset=gaussian-mixture", "--set", "n_images=2", "--set", "batch=2")
    said = command(verb, suite_file(tmp_path), *few, "--results", tmp_path / "results")
    assert said.code == 2
    assert 'every row on "gaussian-mixture" would be INVALID: found n_images = 2 for the 16 features' in said.err
    assert not (tmp_path / "results").exists()


def test_notes_are_printed_by_plan_and_by_a_run_before_its_first_row(command: Command, tmp_path: Path) -> None:
    results = ("--results", tmp_path / "results", "--set", "batch=50")
    planned = command("plan", suite_file(tmp_path), *results)
    said_now = "note: other programs"  # of the machine, not of the plan
    lines = planned.out.splitlines()
    notes = [line for line in lines if line.startswith("note: ") and not line.startswith(said_now)]
    assert any("batch = 50 is more than n_images = 40" in note for note in notes)
    said = " ".join(command("run", suite_file(tmp_path), *results).err.split())
    assert all(said.index(note) < said.index("[1/") for note in notes)


@pytest.mark.parametrize("words", [("plan", "quick", "--results"), ("doctor",), ("report",)])
def test_a_file_in_the_place_of_results_is_refused_by_name(
    command: Command, tmp_path: Path, words: tuple[str, ...]
) -> None:
    file = tmp_path / "afile"
    file.write_text("")
    said = command(*words, file)
    assert said.code == 2
    assert f"{file} cannot be a folder: {file} is a file" in said.err
