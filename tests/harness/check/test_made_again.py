"""Images made again: alone, in other batches, in other processes; and what a built denoiser does."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kit import check_toys as toys
from kit.check_kit import run_small
from kit.faulty import known_here

from harness.check.built_denoiser import check_denoiser_memory, check_denoiser_output, check_units
from harness.check.finished_trial import FinishedTrial
from harness.check.made_again import (
    check_batch_independence,
    check_parallel_trace,
    check_repeatability,
    check_scored_images,
    check_serial_images,
)
from harness.check.method_check import OF_BUILT_PART, OF_IMAGES
from harness.check.outcome import CheckOutcome, CheckState, run_check
from harness.check.two_workers import check_two_workers
from methods.parts import Method

Check = Callable[[FinishedTrial], CheckOutcome]
INFO = "check_toys-1.0.dist-info"


@pytest.fixture(scope="module", autouse=True)
def toys_known(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let this process and those that it starts know the toys."""
    with known_here(toys.register_toys(tmp_path_factory.mktemp("site"))):
        yield


@pytest.mark.parametrize(
    ("part", "name"), [("solver", "toy-euler"), ("solver", "ddpm"), ("executor", "srds"), ("denoiser", "toy-whole")]
)
def test_an_honest_method_passes_all(part: str, name: str, tmp_path: Path) -> None:
    trial = run_small(part, name, tmp_path)
    outcomes = [
        run_check(lambda check=check: check(trial), check.__name__) for check in (*OF_BUILT_PART[part], *OF_IMAGES)
    ]  # type: ignore[misc]
    assert not [one for one in outcomes if one.state is CheckState.failed]
    assert outcomes[-1].found == "20 equal, on 1 and on 2 workers"


@pytest.mark.parametrize(
    ("check", "toy", "found"),
    [
        (check_batch_independence, toys.BatchMean, "6 images differ by up to"),
        (check_repeatability, toys.CountsBatches, "other bits when made again and by another sampler"),
        (check_scored_images, toys.CountsBatches, "5 of 5 differ, the first is image 0"),
        (check_two_workers, toys.CountsBatches, "of 20 differ"),
        (check_two_workers, toys.ReadsProcess, "of 20 differ, the first is image 0"),
        (check_units, toys.Unnamed, "counted half, which units() does not name"),
        (check_denoiser_output, toys.FractionalUnits, "the count of network is tensor([0.5000"),
        (check_denoiser_memory, toys.ForgetsToSay, "has_memory = True after build()"),
    ],
)
def test_a_broken_promise_is_a_failure_with_what_to_do(
    check: Check, toy: type[Method], found: str, tmp_path: Path
) -> None:
    trial = run_small(toy.part, toy.name, tmp_path)
    outcome = run_check(check, trial)
    assert outcome.state is CheckState.failed
    assert found in outcome.found
    assert outcome.expected
    assert outcome.to_do


def test_what_reads_its_process_passes_in_this_one(tmp_path: Path) -> None:
    trial = run_small("solver", toys.ReadsProcess.name, tmp_path)
    assert check_scored_images(trial).state is CheckState.passed


def test_an_executor_is_compared_with_the_serial_one_or_has_a_trace(tmp_path: Path) -> None:
    serial, parallel = (run_small("executor", name, tmp_path / name) for name in ("toy-serial", "srds"))
    assert [check(serial).state for check in (check_serial_images, check_parallel_trace)] == ["pass", "n/a"]
    assert [check(parallel).state for check in (check_serial_images, check_parallel_trace)] == ["n/a", "pass"]


def test_an_executor_that_changes_an_image_is_found(tmp_path: Path) -> None:
    trial = run_small("executor", "toy-same-noise", tmp_path, solver="ddpm")
    outcome = check_serial_images(trial)
    assert outcome.state is CheckState.failed
    assert "they differ by" in outcome.found


def test_a_worker_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trial = run_small("solver", toys.Euler.name, tmp_path)
    monkeypatch.setattr(sys, "path", [one for one in sys.path if not (Path(one) / INFO).is_dir()])
    outcome = run_check(check_two_workers, trial)
    assert outcome.state is CheckState.failed
    assert 'a worker failed: UsageError: solver "toy-euler" is unknown' in outcome.found
