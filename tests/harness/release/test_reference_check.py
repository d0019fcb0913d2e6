"""Reference runs against a plan of today: all rows there, some missing, none of this code."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from kit.faulty import measure, suite
from kit.site_kit import few_rows, write_folder

from harness.errors import UsageError
from harness.release import reference_runs
from harness.release.reference_runs import check_reference_runs

ROWS = few_rows().iloc[:5]
IDS = list(ROWS["trial_id"])


def planned(monkeypatch: pytest.MonkeyPatch, ids: list[str], kind: str = "cpu") -> None:
    """Let a plan have these ids on devices of one kind, and others on the other kind."""

    def plan(suite: str, device_class: str, device_name: str) -> SimpleNamespace:
        assert device_name == "Example CPU (1 thread)"
        found = ids if device_class == f"{kind}:{device_name}" else [f"{one}-elsewhere" for one in ids]
        trials = tuple(SimpleNamespace(short=f"{suite}-{place}") for place in range(len(ids)))
        return SimpleNamespace(listed_ids=tuple(found), listed=trials, absent=())

    monkeypatch.setattr(reference_runs, "plan_on", plan)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_folder(tmp_path / "results/reference/quick", ROWS)
    return tmp_path


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_a_run_of_this_code_needs_no_row(root: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    planned(monkeypatch, IDS, kind)
    (finding,) = check_reference_runs(root)
    assert finding.line() == "ok      reference  quick: all 5 rows are of this code"


def test_a_run_that_was_just_made_is_of_this_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = suite([{"solver": "heun", "steps": 2}])
    measure(wanted, tmp_path / "results/reference")
    monkeypatch.setattr("harness.config.suite.load_suite", lambda _: wanted)
    (finding,) = check_reference_runs(tmp_path)
    assert finding.line() == "ok      reference  tiny: all 2 rows are of this code"


def test_rows_that_would_be_run_are_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planned(monkeypatch, [IDS[0], *"abcd"])
    (finding,) = check_reference_runs(root)
    assert finding.failed
    assert finding.sentence == "quick: 4 of 5 rows would be run: quick-1, quick-2, quick-3 and 1 more"
    assert "make benchmark SUITE=quick" in finding.remedy


def test_a_row_that_is_not_valid_would_be_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tmp_path / "results/reference/quick", few_rows())
    planned(monkeypatch, list(few_rows()["trial_id"]))
    (finding,) = check_reference_runs(tmp_path)
    assert finding.sentence == "quick: 1 of 6 rows would be run: quick-5"


def test_a_run_of_other_code_names_its_commit(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planned(monkeypatch, ["a", "b"])
    (finding,) = check_reference_runs(root)
    assert finding.failed
    assert "none of 5 rows is of this code" in finding.sentence
    assert "measured at 0000000000" in finding.sentence


def test_damage_and_what_cannot_be_planned_is_a_finding(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: str) -> None:
        raise UsageError('suite "quick" is unknown')

    monkeypatch.setattr(reference_runs, "plan_on", refuse)
    assert [one.sentence for one in check_reference_runs(root)] == ['quick: suite "quick" is unknown']
    next((root / "results/reference/quick/trials").iterdir()).write_bytes(b"")
    (finding,) = check_reference_runs(root)
    assert finding.failed
    assert "bytes long; the log says" in finding.sentence


def test_no_run_at_all_fails(tmp_path: Path) -> None:
    assert [one.failed for one in check_reference_runs(tmp_path)] == [True]
