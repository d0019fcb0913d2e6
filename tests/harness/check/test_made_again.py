"""Images made again: alone, in other batches, in other processes; and what a built denoiser does."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kit import check_toys as toys
from kit.check_kit import candidate_of, run_small
from kit.faulty import known_here

from harness.check.built_denoiser import check_denoiser_memory, check_denoiser_output, check_units
from harness.check.built_parts import BuiltParts, PartsByHand
from harness.check.made_again import (
    check_batch_independence,
    check_parallel_trace,
    check_repeatability,
    check_serial_images,
)
from harness.check.method_check import OF_BUILT_PART, OF_SAMPLER, OF_SCORED_IMAGES
from harness.check.outcome import CheckOutcome, CheckState, run_check
from harness.check.two_workers import check_scored_images, check_two_workers
from harness.registry import registry
from methods.parts import Method

Check = Callable[[BuiltParts], CheckOutcome]
INFO = "check_toys-1.0.dist-info"


@pytest.fixture(scope="module", autouse=True)
def toys_known(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let this process and those that it starts know the toys."""
    with known_here(toys.register_toys(tmp_path_factory.mktemp("site"))):
        yield


@pytest.mark.parametrize(
    ("part", "name"), [("solver", "toy-euler"), ("solver", "ddpm"), ("executor", "srds"), ("denoiser", "toy-whole")]
)
def test_an_honest_method_passes_all(part: str, name: str) -> None:
    made = PartsByHand(candidate_of(registry().make(part, name, {})))
    outcomes = [run_check(check, made) for check in (*OF_BUILT_PART[part], *OF_SAMPLER)]
    assert not [one for one in outcomes if one.state is CheckState.failed]


def test_scored_images_are_the_same_again_and_on_two_workers(tmp_path: Path) -> None:
    trial = run_small("solver", "toy-euler", tmp_path)
    outcomes = [run_check(check, trial) for check in OF_SCORED_IMAGES]
    assert [one.found for one in outcomes] == ["5 equal", "20 equal, on 1 and on 2 workers"]


@pytest.mark.parametrize(
    ("check", "toy", "found"),
    [
        (check_batch_independence, toys.BatchMean, "6 images differ by up to"),
        (check_repeatability, toys.CountsBatches, "other bits when made again and by another sampler"),
        (check_serial_images, toys.LosesNoise, "they differ by"),
        (check_units, toys.Unnamed, "counted half, which units() does not name"),
        (check_denoiser_output, toys.FractionalUnits, "the count of network is tensor([0.5000"),
        (check_denoiser_memory, toys.ForgetsToSay, "has_memory = True after build()"),
    ],
)
def test_a_broken_promise_is_a_failure_with_what_to_do(check: Check, toy: type[Method], found: str) -> None:
    candidate = candidate_of(toy())
    if toy is toys.LosesNoise:
        candidate.parts["solver"] = registry().make("solver", "ddpm", {})
    _expect_failure(run_check(check, PartsByHand(candidate)), found)


@pytest.mark.parametrize("toy", [toys.CountsBatches, toys.ReadsProcess])
def test_what_depends_on_its_process_is_found_on_two_workers(toy: type[Method], tmp_path: Path) -> None:
    trial = run_small(toy.part, toy.name, tmp_path)
    _expect_failure(run_check(check_two_workers, trial), "of 20 differ, the first is image ")
    here = run_check(check_scored_images, trial)
    if toy is toys.CountsBatches:
        _expect_failure(here, "5 of 5 differ, the first is image 0")
    else:
        assert here.state is CheckState.passed


def _expect_failure(outcome: CheckOutcome, found: str) -> None:
    assert outcome.state is CheckState.failed
    assert found in outcome.found
    assert outcome.expected
    assert outcome.to_do


def test_an_executor_is_compared_with_the_serial_one_or_has_a_trace() -> None:
    serial, parallel = (
        PartsByHand(candidate_of(registry().make("executor", name, {}))) for name in ("toy-serial", "srds")
    )
    assert [check(serial).state for check in (check_serial_images, check_parallel_trace)] == ["pass", "n/a"]
    assert [check(parallel).state for check in (check_serial_images, check_parallel_trace)] == ["n/a", "pass"]


def test_a_worker_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trial = run_small("solver", toys.Euler.name, tmp_path)
    monkeypatch.setattr(sys, "path", [one for one in sys.path if not (Path(one) / INFO).is_dir()])
    outcome = run_check(check_two_workers, trial)
    assert outcome.state is CheckState.failed
    assert 'a worker failed: UsageError: solver "toy-euler" is unknown' in outcome.found
