"""The ruler is straight; and whichever instrument is bent, the check notices and names it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from kit import toys
from kit.log_kit import Logged
from torch.utils.flop_counter import FlopCounterMode

from harness import api
from harness.errors import HarnessError
from harness.known_answer import readings
from harness.known_answer.check import check_known_answers
from harness.known_answer.closed_forms import sample_fid
from harness.measure.device import CallTiming
from harness.metrics import fid
from harness.metrics.frechet import ReferenceMoments, frechet_distance
from harness.metrics.moments import Moments
from harness.pools.local import LocalPool
from harness.sampling.noise import ImageNoise
from methods.denoisers.full import Full
from methods.networks.analytic import Analytic
from methods.schedules.edm import EDM
from methods.solvers.ddim import DDIM

Patch = pytest.MonkeyPatch


def test_a_straight_ruler_is_one_line_and_changes_no_setting(logged: Logged) -> None:
    torch.set_default_dtype(torch.float64)
    threads = torch.get_num_threads()
    try:
        line = check_known_answers()
        assert (torch.get_default_dtype(), torch.get_num_threads()) == (torch.float64, threads)
    finally:
        torch.set_default_dtype(torch.float32)
    assert logged.messages == [line]
    assert line.startswith("the ruler is straight: error ")
    assert "10 evaluations of 10" in line
    assert "640 FLOPs of 640" in line


def test_it_costs_less_than_five_seconds_of_cpu() -> None:
    check_known_answers()
    before = time.process_time()
    check_known_answers()
    assert time.process_time() - before < 5


def step_times(factor: float) -> Callable[[Patch], None]:
    real = DDIM.step
    return lambda patch: patch.setattr(DDIM, "step", lambda self, *args: factor * real(self, *args))


def asks_twice(patch: Patch) -> None:
    real = DDIM.step

    def step(self: DDIM, x: Any, i: int, sigmas: Any, denoise: Any, *rest: Any) -> Any:
        denoise(x, float(sigmas[i]))
        return real(self, x, i, sigmas, denoise, *rest)

    patch.setattr(DDIM, "step", step)


def other_levels(patch: Patch) -> None:
    real = EDM.levels
    patch.setattr(EDM, "levels", lambda self, steps, *rest: real(self, steps + 3, *rest)[3:])


def network_of_other_data(patch: Patch) -> None:
    real = Analytic.forward
    patch.setattr(Analytic, "forward", lambda self, x, sigma: real(self, x, sigma * 1.001))


def half_the_flops(patch: Patch) -> None:
    real = FlopCounterMode.get_total_flops
    patch.setattr(FlopCounterMode, "get_total_flops", lambda self: real(self) // 2)


def without_units(patch: Patch) -> None:
    real = Full.build

    def build(self: Full, *args: Any) -> Any:
        made = real(self, *args)
        made.units = lambda: {}
        return made

    patch.setattr(Full, "build", build)


def distance_without_means(patch: Patch) -> None:
    def bent(reference: ReferenceMoments, moments: Moments) -> float:
        difference = reference.mean - moments.mean
        return frechet_distance(reference, moments) - float(difference @ difference)

    patch.setattr(fid, "frechet_distance", bent)


def distance_times(factor: float) -> Callable[[Patch], None]:
    return lambda patch: patch.setattr(fid, "frechet_distance", lambda *both: factor * frechet_distance(*both))


def moments_about_zero(patch: Patch) -> None:
    def of(features: np.ndarray) -> Moments:
        values = np.asarray(features, dtype=np.float64)
        return Moments(len(values), values.mean(0) * 0, values.T @ values)

    patch.setattr(Moments, "of", staticmethod(of))


def louder_noise(patch: Patch) -> None:
    real = ImageNoise.draw_initial
    patch.setattr(ImageNoise, "draw_initial", lambda self, indices: 1.1 * real(self, indices))


def same_noise_for_all(patch: Patch) -> None:
    real = ImageNoise.draw_initial
    patch.setattr(ImageNoise, "draw_initial", lambda self, indices: real(self, [0] * len(indices)))


def clock_times(factor: float) -> Callable[[Patch], None]:
    def bent(call: Any, device: Any) -> Any:
        began = time.perf_counter()
        result = call()
        seconds = factor * (time.perf_counter() - began)
        return result, CallTiming(seconds, seconds, None)

    return lambda patch: patch.setattr(readings, "timed_call", bent)


@pytest.mark.parametrize(
    ("bend", "named"),
    [
        (step_times(1 + 1e-5), "the error of Euler's steps: "),
        (step_times(float("nan")), "the error of Euler's steps: nan"),
        (network_of_other_data, "the order of convergence: "),
        (other_levels, "the FID of samples whose distribution is known: "),
        (asks_twice, "evaluations: 20, theory 10"),
        (half_the_flops, "FLOPs of an image: 320, theory 640"),
        (half_the_flops, "FLOPs of three layers: 153600, theory 307200"),
        (without_units, "the check raised KeyError"),
        (distance_without_means, "the FID of samples whose distribution is known: "),
        (distance_times(1.1), "the FID of samples whose distribution is known: "),
        (moments_about_zero, "the FID of samples whose distribution is known: "),
        (louder_noise, "the FID of samples whose distribution is known: "),
        (same_noise_for_all, "the FID of samples whose distribution is known: "),
        (clock_times(0.5), "the seconds of a sleep: "),
        (clock_times(60.0), "the seconds of a sleep: "),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_bent_is_noticed_and_named(bend: Callable[[Patch], None], named: str, monkeypatch: Patch) -> None:
    bend(monkeypatch)
    with pytest.raises(HarnessError, match="the ruler is bent: ") as caught:
        check_known_answers()
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 1


def test_the_expected_fid_and_its_standard_error_are_those_of_many_draws() -> None:
    n, std, dim, repeats = 200, 0.3, 4, 400
    eigenvalues, shift = np.array([0.04, 0.07, 0.1, 0.2]), np.array([0.0, 0.1, 0.0, -0.1])
    known = sample_fid(n, std, eigenvalues, shift)
    exact = ReferenceMoments.of(Moments(1000, shift, np.diag(eigenvalues) * 999))
    rng = np.random.default_rng(0)
    found = [frechet_distance(exact, Moments.of(std * rng.standard_normal((n, dim)))) for _ in range(repeats)]
    assert np.mean(found) == pytest.approx(known.value, abs=4 * known.standard_error / np.sqrt(repeats))
    assert np.std(found) == pytest.approx(known.standard_error, rel=0.2)
    assert sample_fid(10**9, std, eigenvalues, shift).value < known.value - known.standard_error / 4  # the bias counts


def test_a_bent_ruler_measures_nothing_and_a_run_with_nothing_to_do_needs_none(
    tmp_path: Path, monkeypatch: Patch, logged: Logged
) -> None:
    suite, results = toys.suite_file(tmp_path), tmp_path / "results"
    with pytest.MonkeyPatch.context() as bent:
        step_times(1.01)(bent)
        with pytest.raises(HarnessError, match="the ruler is bent"):
            api.run(suite, results=results, pool=LocalPool, report=False)
        assert api.load(results / "toy").trials.empty
    assert "the ruler is bent" in (results / "toy" / "log.txt").read_text()

    api.run(suite, results=results, in_process=True, report=False)
    assert "the ruler is straight" in (results / "toy" / "log.txt").read_text()
    said = [line for line in logged.messages if line.startswith("the ruler")]
    assert len(said) == 1
    monkeypatch.setattr(DDIM, "step", None)
    assert api.run(suite, results=results, in_process=True, report=False).all_valid
    assert [line for line in logged.messages if line.startswith("the ruler")] == said
