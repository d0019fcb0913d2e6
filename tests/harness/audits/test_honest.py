"""No rule trips on a shipped method, or on a setting of a suite that a run may have."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from kit import honest_suites as suites

import harness
from harness.pools.local import LocalPool
from harness.registry import registry


def run(folder: Path, trials: str = "", settings: list[str] | None = None) -> pd.DataFrame:
    """Run the baseline and other trials in this process; return the rows."""
    path = folder / "honest.toml"
    path.write_text(suites.suite_of(trials))
    done = harness.run(str(path), pool=LocalPool, results=folder / "results", report=False, settings=settings or [])
    return done.trials


def faults(trials: pd.DataFrame) -> dict[str, str]:
    """Return the reasons of the rows that are not VALID."""
    wrong = trials[trials["verdict"] != "VALID"]
    return dict(zip(wrong["method"] + "-" + wrong["steps"].astype(str), wrong["reasons"], strict=True))


@pytest.mark.parametrize(
    "trials",
    [
        suites.SOLVERS_AND_SCHEDULES,
        suites.EXECUTORS,
        pytest.param(suites.DENOISERS, marks=pytest.mark.slow),
        pytest.param(suites.COMPOSITIONS, marks=pytest.mark.slow),
    ],
    ids=["solvers and schedules", "executors", "denoisers", "caches under 2M and UniPC over few-step levels"],
)
def test_no_rule_trips_on_a_shipped_method(trials: str, tmp_path: Path) -> None:
    assert faults(run(tmp_path, trials)) == {}


@pytest.mark.parametrize("name", suites.SETTINGS)
def test_no_rule_trips_on_a_setting_of_a_suite(name: str, tmp_path: Path) -> None:
    assert faults(run(tmp_path, settings=suites.SETTINGS[name])) == {}


def test_every_shipped_method_stands_in_these_suites() -> None:
    text = suites.HEAD + suites.SOLVERS_AND_SCHEDULES + suites.EXECUTORS + suites.DENOISERS
    defaults = {"full", "edm", "ddim", "serial"}
    shipped = {one.name for one in registry().methods() if one.__module__.startswith("methods.")}
    assert {name for name in shipped - defaults if f'"{name}"' not in text} == set()
