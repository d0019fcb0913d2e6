"""Optional trials: left out where the cluster is too small for them, run like any other where it is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from kit.log_kit import Logged
from kit.plan_kit import plan
from kit.toys import CountingPool, suite_file

from harness import api
from harness.config.suite import load_suite
from harness.errors import UsageError
from harness.planning.fit import drop_unplaceable_trials
from harness.pools.local import LocalPool
from harness.report.figures import draw as figures

SRDS = """
[[trials]]
label = "{label}"
optional = {optional}
steps = 4
executor = {{ name = "srds", form = "vanilla", devices = {devices} }}
"""


@pytest.fixture(autouse=True)
def one_plot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "DRAWERS", {"fid-nfe": figures.DRAWERS["fid-nfe"]})


class Two(LocalPool):
    """Says that it has two devices."""

    def size(self) -> int:
        return 2


def pair(optional: bool = True, **entry: Any) -> dict[str, Any]:
    executor = {"name": "srds", "form": "vanilla", "devices": 2}
    return {"steps": 4, "executor": executor, "label": "pair", "optional": optional, **entry}


def wanted(folder: Path, *labels: str, optional: str = "true") -> Any:
    """Return a suite of the clock trial and, for each label, Parareal on two devices."""
    return load_suite(suite_file(folder, "".join(SRDS.format(label=x, optional=optional, devices=2) for x in labels)))


def measured(tables: api.Tables) -> set[tuple[str, str]]:
    return set(zip(tables.trials["method"], tables.trials["verdict"], strict=True))


def test_one_device_leaves_out_what_needs_two_and_the_run_is_valid(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "results"
    tables = api.run(wanted(tmp_path, "pair", "twin"), results=results, pool=CountingPool, quiet=False)
    assert measured(tables) == {("ddim", "VALID")}
    assert tables.all_valid
    said = [line for line in capsys.readouterr().err.splitlines() if "left out" in line]
    assert said == [
        "left out, as they need more devices than the 1 that the cluster has: analytic:pair-4 "
        "(needs 2), "
        "analytic:twin-4 (needs 2)"
    ]
    assert len(tables.steps) == 2


def test_what_is_not_optional_is_refused_as_before(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="pair-4 needs 2 devices at once; the cluster offers 1; choose fewer"):
        api.run(wanted(tmp_path, "pair", optional="false"), results=tmp_path / "results", pool=CountingPool)


def test_an_optional_trial_of_one_device_runs(tmp_path: Path) -> None:
    suite = load_suite(suite_file(tmp_path, SRDS.format(label="alone", optional="true", devices=1)))
    tables = api.run(suite, results=tmp_path / "results", pool=CountingPool)
    assert measured(tables) == {("ddim", "VALID"), ("alone", "VALID")}


def test_a_cluster_that_is_large_enough_leaves_nothing_out(logged: Logged) -> None:
    made = plan(trials=[{"steps": 2}, pair()])
    assert drop_unplaceable_trials(made, 2, {}) == made
    assert logged.messages == []
    kept = drop_unplaceable_trials(made, 1, {})
    assert [p.trial.method for p in kept.trials] == ["ddim"]
    assert kept.tasks == made.tasks
    assert len(logged.messages) == 1


def test_what_a_larger_cluster_has_measured_is_not_called_left_out(logged: Logged) -> None:
    made = plan(trials=[{"steps": 2}, pair()])
    kept = drop_unplaceable_trials(made, 1, {made.trials[-1].id})
    assert [p.trial.method for p in kept.trials] == ["ddim"]
    assert logged.messages == []


def test_a_run_of_nothing_but_what_is_left_out_is_refused() -> None:
    made = plan(trials=[{"steps": 2}, pair()], only="pair")
    with pytest.raises(UsageError, match=r"left out, .* no other trial was chosen, so choose others"):
        drop_unplaceable_trials(made, 1, {})


def test_whether_a_trial_is_optional_is_no_part_of_its_identity() -> None:
    ids = [[p.id for p in plan(trials=[{"steps": 2}, pair(optional)]).trials] for optional in (True, False)]
    assert ids[0] == ids[1]


def test_the_clock_cannot_be_left_out() -> None:
    with pytest.raises(UsageError, match="ddim-2 is the clock of every speed-up; remove its optional = true"):
        plan(trials=[{"steps": 2, "optional": True}, {"steps": 3}])
