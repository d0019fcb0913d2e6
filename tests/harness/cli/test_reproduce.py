"""The verb `reproduce` on claims whose truth is known: true, false, out of conditions, without files."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path

import pytest
import tomli_w
from kit.cli_kit import Command
from pandas import DataFrame

from harness.report.analysis.claimed_figures import reproduced_notes
from harness.report.facts import MARKED_COLUMNS, ClaimFacts, describe_conditions
from harness.runs.workplace import this_device


def ledger(folder: Path, figure: float, **claim: object) -> Path:
    """Write a ledger of one claim: DDIM in 4 steps on one Gaussian, whose FID follows from a closed form."""
    setting = {
        "dataset": "gaussian", "network": "analytic", "extractor": "pixels", "precision": "float64", "n_images": 2000,
        "batch": 500, "tier": "smoke", "solver": "ddim", "schedule": "edm", "steps": 4,
    }  # fmt: skip
    one = {
        "name": "gauss", "title": "One Gaussian", "figure": figure, "decimals": 4, "protocol": "exact", "nfe": 4,
        "source": "a closed form", "suite": setting, **claim,
    }  # fmt: skip
    path = folder / "ledger.toml"
    path.write_text(tomli_w.dumps({"claims": [one]}))
    return path


def record(results: Path) -> dict:
    return json.loads((results / "claims.json").read_text())["gauss"]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder of results, so that the row is measured once."""
    return tmp_path_factory.mktemp("claims")


def reproduce(command: Command, file: Path, results: Path, *words: object) -> list[str]:
    said = command("reproduce", "gauss", "--ledger", file, "--results", results, "--in-process", *words)
    assert said.code == 0, said.err
    return said.out.splitlines()


def test_a_true_claim_is_reproduced_and_its_method_wears_the_mark(
    command: Command, tmp_path: Path, results: Path
) -> None:
    lines = reproduce(command, ledger(tmp_path, 0.1349), results)
    assert lines[1] == "  paper      FID 0.1349 at NFE 4 (a closed form)"
    assert lines[3].startswith("  measured   FID 0.13")
    assert lines[-1] == "  reproduced"
    assert record(results)["verdict"] == "reproduced"

    board = (results / "reproduce-gauss" / "leaderboard.md").read_text()
    assert "Published figures: claimed, measured here, conditions" in board
    assert "| gauss | One Gaussian (a closed form) | 0.1349 |" in board
    assert board.count("(reproduced)") == 2  # the line of the method and its trial
    assert "was reproduced here: gauss, FID 0.1349 on analytic at NFE 4" in board
    assert "ddim (reproduced)" in (results / "reproduce-gauss" / "report.html").read_text()


def test_the_mark_is_worn_in_the_tables_of_other_suites_under_the_same_conditions(
    command: Command, tmp_path: Path, results: Path, suite: str
) -> None:
    reproduce(command, ledger(tmp_path, 0.1349), results)
    same = ("--set", "precision=float64", "--set", "extractor=pixels")
    assert command("run", suite, *same, "--results", results, "--in-process").code == 0
    board = (results / "toy" / "leaderboard.md").read_text()
    assert "(reproduced)" in board
    assert "Published figures" not in board  # the table stands where it was measured


def test_the_mark_goes_with_network_data_and_settings_and_not_with_the_name_of_the_method() -> None:
    row = dict.fromkeys(MARKED_COLUMNS, "x") | {"guidance": 1.0, "classes": None, "steps": 4}
    others = [{**row, "steps": 8}, {**row, "network": "y"}, {**row, "weights": "y"}, {**row, "guidance": 2.0}]
    known: dict = dict.fromkeys((one.name for one in fields(ClaimFacts)), "x")
    claim = ClaimFacts(**{**known, "verdict": "reproduced", "fid": 1.0, "conditions": describe_conditions(row)})
    notes = reproduced_notes(DataFrame([row, *others]), [claim])
    assert [bool(note) for note in notes] == [True, True, False, False, False]
    assert not any(reproduced_notes(DataFrame([row]), [replace(claim, conditions={})]))


def test_a_false_claim_is_not_reproduced(command: Command, tmp_path: Path, results: Path) -> None:
    lines = reproduce(command, ledger(tmp_path, 0.2), results)
    assert lines[-1] == "  not reproduced"
    board = (results / "reproduce-gauss" / "leaderboard.md").read_text()
    assert "| not reproduced |" in board
    assert "(reproduced)" not in board


def test_out_of_conditions_there_is_no_verdict(command: Command, tmp_path: Path, results: Path) -> None:
    lines = reproduce(command, ledger(tmp_path, 0.1349), results, "--set", "n_images=500")
    assert "  not met    n_images is 500, and the claim's is 2,000" in lines
    assert lines[-1] == "  no verdict"
    assert record(results)["unmet"] == ["n_images is 500, and the claim's is 2,000"]
    board = (results / "reproduce-gauss" / "leaderboard.md").read_text()
    assert "not met: n\\_images is 500" in board
    assert "(reproduced)" not in board


def test_another_number_of_evaluations_is_out_of_conditions(command: Command, tmp_path: Path, results: Path) -> None:
    lines = reproduce(command, ledger(tmp_path, 0.1349, nfe=5), results)
    assert "  not met    NFE is 4, and the claim's is 5" in lines
    assert lines[-1] == "  no verdict"


@pytest.mark.skipif(this_device()[0].startswith("cuda"), reason="there is a GPU here")
def test_without_a_gpu_nothing_is_run(command: Command, tmp_path: Path) -> None:
    lines = reproduce(command, ledger(tmp_path, 0.1349, needs_gpu=True), tmp_path / "none")
    assert lines[-2].startswith("  not met    no GPU here")
    assert lines[-1] == "  no verdict: conditions are not met, so nothing was run"
    assert not (tmp_path / "none").exists()


def test_missing_files_are_named_with_the_command(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = command("reproduce", "edm-cifar10")
    assert said.out.count("no verdict") == 2
    assert "`oneclock fetch edm-cifar10-cond`, then `oneclock import network edm-cifar10-32x32-cond-vp.pkl`" in said.out
    assert list(tmp_path.iterdir()) == []


def test_a_plan_runs_nothing(command: Command, tmp_path: Path) -> None:
    lines = reproduce(command, ledger(tmp_path, 0.1349), tmp_path / "none", "--plan")
    assert lines[-1] == "  row        analytic:ddim-4, N 2,000"
    assert not (tmp_path / "none").exists()


def test_the_ledger_is_listed_with_what_is_not_measured(command: Command) -> None:
    listed = command("reproduce", "--list").out
    assert "edm-cifar10-uncond" in listed
    assert "not measured here: 250 ancestral steps" in listed
    assert command("reproduce").code == 2


def test_a_claim_that_is_not_measured_here_says_why(command: Command) -> None:
    assert "no verdict: 250 ancestral steps" in command("reproduce", "dit-imagenet256").out
