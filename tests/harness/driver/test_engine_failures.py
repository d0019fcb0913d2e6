"""Runs in which something goes wrong: the row says what, and the other rows are as sound as before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
from kit import toys
from kit.toy_runs import Run
from kit.toys import CountingPool, suite_file, trial

import harness
from harness.errors import UsageError
from methods.parts import Artifact


@pytest.fixture
def toy_methods() -> Iterator[None]:
    with toys.registered(
        toys.NaN, toys.Constant, toys.WrongShape, toys.FewerImages, toys.Raises, toys.Exits, toys.Drifts, toys.Searched,
    ):  # fmt: skip
        yield


@pytest.mark.usefixtures("toy_methods")
def test_images_that_are_not_numbers_are_counted_and_the_first_is_named(tmp_path: Path) -> None:
    run = Run(suite_file(tmp_path, trial(solver="toy-nan", steps=2)), tmp_path)
    row = run.row("toy-nan")
    assert (row["status"], row["verdict"]) == ("finished", "INVALID")
    assert row["reasons"].startswith("nan-samples: 4 of 40 images hold NaN or infinity, the first is ")
    assert f"the first is image {toys.BAD_ROW}," in row["reasons"]
    assert pd.isna(row["fid"])
    assert not run.tables.all_valid
    assert run.row("ddim")["verdict"] == "VALID"
    assert Run(suite_file(tmp_path, trial(solver="toy-nan", steps=2)), tmp_path).kinds == {}


@pytest.mark.usefixtures("toy_methods")
@pytest.mark.parametrize(
    ("solver", "reason"),
    [
        ("toy-constant", "constant-images: 40 of 40 images have a single grey level"),
        ("toy-wrong-shape", "wrong-shape: the sampler returned [10, 1, 4, 2]"),
        ("toy-fewer", "wrong-shape: the sampler returned [9, 1, 4, 4]"),
        ("toy-drifts", "timed-images-differ: "),
    ],
)
def test_images_that_are_no_images_make_the_row_invalid(tmp_path: Path, solver: str, reason: str) -> None:
    run = Run(suite_file(tmp_path, trial(solver=solver, steps=1)), tmp_path)
    row = run.row(solver, 1)
    assert (row["status"], row["verdict"]) == ("finished", "INVALID")
    assert reason in row["reasons"]
    assert run.row("ddim")["verdict"] == "VALID"


@pytest.mark.usefixtures("toy_methods")
def test_a_task_that_raises_is_a_failed_row_and_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    suite = suite_file(tmp_path, trial(solver="toy-raises", steps=2))
    first = Run(suite, tmp_path)
    row = first.row("toy-raises")
    assert (row["status"], row["verdict"]) == ("failed", "INVALID")
    assert row["reasons"].startswith("failed(ValueError): the toy is broken in two lines (toys.py, line ")
    assert first.row("ddim")["verdict"] == "VALID"
    assert not first.tables.all_valid
    monkeypatch.setattr(toys.Raises, "fault", None)
    second = Run(suite, tmp_path)
    assert second.kinds == {"sample": 1, "score": 1, "time": 1}
    assert (second.row("toy-raises")["verdict"], second.row("toy-raises")["attempt"]) == ("VALID", 2)
    assert second.tables.all_valid


@pytest.mark.usefixtures("toy_methods")
def test_no_memory_has_a_reason_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toys.Raises, "fault", MemoryError())
    run = Run(suite_file(tmp_path, trial(solver="toy-raises", steps=2)), tmp_path)
    assert run.row("toy-raises")["reasons"].startswith("failed(out-of-memory): MemoryError")


@pytest.mark.usefixtures("toy_methods")
def test_a_method_that_calls_exit_ends_its_trial_and_not_the_run(tmp_path: Path) -> None:
    run = Run(suite_file(tmp_path, trial(solver="toy-exits", steps=2) + trial(steps=3)), tmp_path)
    assert run.row("toy-exits")["reasons"].startswith("failed(SystemExit)")
    assert run.row("ddim", 3)["verdict"] == "VALID"


@pytest.mark.usefixtures("toy_methods")
def test_a_result_that_no_file_can_hold_fails_its_trials_and_not_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(toys.Searched, "prepare", lambda self, context: Artifact({}, {"loss": float("nan")}))
    run = Run(suite_file(tmp_path, trial(schedule="toy-searched", steps=2)), tmp_path)
    assert run.row("ddim@toy-searched")["reasons"].startswith("failed(bad-result): ")
    assert run.row("ddim")["verdict"] == "VALID"


EXPECT = """
[[expect]]
dataset = "gaussian"
method = "ddim"
steps = 2
column = "nfe"
value = {value}
source = "one evaluation a step"
"""


def test_a_missed_known_answer_makes_the_row_invalid_and_a_corrected_one_is_judged_anew(tmp_path: Path) -> None:
    wrong = Run(suite_file(tmp_path, EXPECT.format(value=3.0)), tmp_path)
    assert wrong.row("ddim")["reasons"].startswith("known-answer: nfe is 2.0, expected 3 within 0")
    assert not wrong.tables.all_valid
    right = Run(suite_file(tmp_path, EXPECT.format(value=2.0)), tmp_path)
    assert right.kinds == {}  # only the verdict is new
    assert right.tables.all_valid


def test_a_baseline_out_of_its_band_makes_every_row_invalid(tmp_path: Path) -> None:
    run = Run(suite_file(tmp_path, trial(steps=3)), tmp_path, settings=["baseline.fid_band=[100.0, 200.0]"])
    assert len(run.tables.trials) == 2
    assert run.tables.trials["reasons"].str.startswith("baseline-out-of-band").all()


def test_a_request_that_makes_no_sense_leaves_no_folder(tmp_path: Path) -> None:
    def never() -> CountingPool:
        raise AssertionError("a worker was started")

    make: Callable[[], CountingPool] = never
    with pytest.raises(UsageError, match='did you mean "heun"'):
        harness.run(suite_file(tmp_path, trial(solver="huen", steps=2)), pool=make, results=tmp_path / "results")
    assert not (tmp_path / "results").exists()
