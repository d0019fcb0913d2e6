"""The runs that ship with the project stay readable, whatever became of the code that they were made with."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import harness
from harness import api

REFERENCE = Path(__file__).resolve().parents[2] / "results" / "reference"
RUNS = sorted(path.name for path in REFERENCE.iterdir() if (path / "log").is_dir())


@pytest.mark.parametrize("name", RUNS)
def test_their_tables_are_read_as_they_were_written(name: str) -> None:
    tables = harness.load(REFERENCE / name)
    assert tables.damage == ()
    assert len(tables.trials) >= 9
    assert set(tables.trials["verdict"]) == {"VALID"}
    assert set(tables.steps["trial_id"]) | set(tables.others["trial_id"]) >= set(tables.trials["trial_id"])
    assert set(tables.trials["baseline_trial_id"].dropna()) <= set(tables.trials["trial_id"])


def test_all_of_them_stay_small_enough_to_be_cloned() -> None:
    assert sum(path.stat().st_size for path in REFERENCE.rglob("*") if path.is_file()) < 30e6


def test_their_report_is_built_from_the_tables_alone(tmp_path: Path) -> None:
    folder = tmp_path / "quick"
    shutil.copytree(REFERENCE / "quick", folder, ignore=shutil.ignore_patterns("*.html", "*.svg", "*.md", "*.tex"))
    written = api.report(folder)
    assert {"report.html", "leaderboard.html"} <= {path.name for path in written}
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "Rows that are not of this plan" not in page
    assert all(method in page for method in set(harness.load(folder).trials["method"]))
