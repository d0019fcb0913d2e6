"""When one curve reaches a FID target: exact answers, and how often the interval holds the true time."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from kit.curve_kit import GROUPS, STEPS, curve_of, power_law, with_trainings

from harness.report.analysis.target_ratio import BOTH_BOUNDS, THE_SAME, read_ratio
from harness.report.analysis.target_time import (
    AT_SMALLEST,
    MAY_REACH,
    NOT_MEASURED,
    NOT_REACHED,
    ONE_STEP_COUNT,
    OPEN_HIGH,
    OPEN_LOW,
    PARTLY,
    REACHED,
    read_target,
)


def test_a_target_inside_the_curve_is_read_exactly() -> None:
    found = read_target(power_law(), 100 / 14.0)
    assert found.state == REACHED
    assert found.seconds == pytest.approx(14.0)
    assert found.steps == (1.0, 2.0)
    assert (found.low, found.high) == (pytest.approx(14.0), pytest.approx(14.0))


@pytest.mark.parametrize(("target", "state", "seconds"), [(30.0, AT_SMALLEST, 5.0), (2.0, NOT_REACHED, math.nan)])
def test_beyond_an_end_there_is_a_bound_or_nothing(target: float, state: str, seconds: float) -> None:
    found = read_target(power_law(), target)
    assert found.state == state
    assert found.seconds == pytest.approx(seconds, nan_ok=True)
    assert math.isnan(found.low)


def test_one_step_count_never_reaches_inside_a_curve() -> None:
    states = [read_target(power_law((10,)), target).state for target in (11.0, 10.0, 9.0)]
    assert states == [AT_SMALLEST, AT_SMALLEST, NOT_REACHED]
    assert f"{ONE_STEP_COUNT}: no curve" in read_target(power_law((10,)), 9.0).notes
    elsewhere = replace(power_law((10,)), more_steps_in="digits")
    assert f"{ONE_STEP_COUNT}: see digits" in read_target(elsewhere, 9.0).notes


def test_a_curve_without_points_is_not_measured() -> None:
    assert read_target(power_law(()), 3.0).state == NOT_MEASURED


def test_the_interval_joins_the_ends_of_fid_and_of_time() -> None:
    wave = np.tile([1.0, -1.0], GROUPS // 2)
    size = 0.01 / (2.093024 * math.sqrt(19 / 20 * 20))  # half width 0.01 of log FID
    seconds = np.array(STEPS, dtype=np.float64)
    found = read_target(curve_of(100 / seconds, seconds, np.tile(size * wave, (4, 1)), timing=0.02), 100 / 10.0)
    assert math.log(found.high / 10) == pytest.approx(math.hypot(0.01, 0.02), rel=1e-5)
    assert math.log(10 / found.low) == pytest.approx(math.hypot(0.01, 0.02), rel=1e-5)


def test_an_end_beyond_the_curve_stays_open_and_a_near_miss_says_so() -> None:
    wave = np.tile([1.0, -1.0], GROUPS // 2) * 0.05
    seconds = np.array(STEPS, dtype=np.float64)
    noisy = curve_of(100 / seconds, seconds, np.tile(wave, (4, 1)))
    slow, fast, missed = (read_target(noisy, 100 / at) for at in (38.0, 5.5, 42.0))
    assert math.isnan(slow.high)
    assert OPEN_HIGH in slow.notes
    assert slow.low < slow.seconds
    assert math.isnan(fast.low)
    assert OPEN_LOW in fast.notes
    assert missed.state == NOT_REACHED
    assert missed.notes == (MAY_REACH,)


def test_over_trainings_the_mean_log_time_has_students_interval() -> None:
    times = np.array([12.0, 14.0, 17.0])  # a training's curve is 100 t / 14 over the plain one's
    plain = power_law()
    found = read_target(with_trainings(plain, plain.fid[None, :] * times[:, None] / 14.0), 100 / 14.0)
    logs = np.log(times)
    half = 4.302653 * logs.std(ddof=1) / math.sqrt(3)
    assert found.state == REACHED
    assert found.seconds == pytest.approx(math.exp(logs.mean()))
    assert math.log(found.high / found.seconds) == pytest.approx(half, rel=1e-5)
    assert (found.reached, found.trainings) == (3, 3)


@pytest.mark.parametrize(
    ("above", "end"),  # upper ends of the FIDs 20, 10, 5, 2.5 at 5, 10, 20, 40 seconds, over the FIDs
    [(1.2, 5.0), (1.6, 10.0), (6.0, 20.0), (100.0, math.nan)],
)
def test_a_bound_over_trainings_ends_where_the_whole_interval_of_the_fid_reaches(above: float, end: float) -> None:
    plain = replace(power_law((5, 10, 20, 40)), fid_high=power_law((5, 10, 20, 40)).fid * above)
    found = read_target(with_trainings(plain, plain.fid[None, :] * np.array([[0.9], [1.0], [1.1]])), 30.0)
    assert (found.state, found.seconds) == (AT_SMALLEST, pytest.approx(5.0))
    assert found.high == pytest.approx(end, nan_ok=True)
    assert (OPEN_HIGH in found.notes) is math.isnan(end)


def test_a_target_that_some_trainings_miss_is_counted_and_has_no_time() -> None:
    plain = power_law()
    found = read_target(with_trainings(plain, plain.fid[None, :] * np.array([[1.0], [1.1], [3.0]])), 3.0)
    assert found.state == PARTLY
    assert (found.reached, found.trainings) == (2, 3)
    assert math.isnan(found.seconds)
    assert math.isnan(found.low)
    assert math.isnan(found.high)
    assert found.steps == ()


def test_a_ratio_is_taken_within_a_training_first() -> None:
    slow, fast = power_law(), power_law(pace=0.5, at_one=50.0)  # equal FIDs in half the time
    spread = np.array([[0.9], [1.0], [1.2]])
    pair = [with_trainings(curve, curve.fid[None, :] * spread) for curve in (fast, slow)]
    ratio = read_ratio(pair[0], pair[1], 100 / 14.0)
    assert ratio.value == pytest.approx(2.0)
    assert ratio.high - ratio.low < 1e-9  # the trainings differ, their ratios do not


def test_a_ratio_to_what_does_not_reach_is_empty_and_bounds_have_a_sign() -> None:
    slow, fast = power_law(), power_law(at_one=50.0, pace=0.5)
    assert read_ratio(slow, slow, 7.0).note == THE_SAME
    assert "the reference does not reach" in read_ratio(slow, power_law((5, 10), pace=0.9), 3.0).note
    assert "the method does not reach" in read_ratio(power_law((5, 10), pace=0.9), slow, 3.0).note
    assert read_ratio(fast, slow, 30.0).note == BOTH_BOUNDS
    bound = read_ratio(power_law((20, 40), at_one=60.0, pace=0.6), slow, 6.0)
    assert (bound.sign, bound.value) == (">=", pytest.approx((100 / 6) / 12))
    assert math.isnan(bound.high)


def test_the_jackknife_interval_of_a_time_holds_the_true_time_as_often_as_it_says() -> None:
    # FID noise of 20 groups, shared in part by the points; timing noise of a known interval
    rng = np.random.default_rng(3)
    seconds, true, runs = np.array([5.0, 10.0, 20.0, 40.0]), 14.0, 600
    held = []
    for _ in range(runs):
        groups = 0.08 * (rng.standard_normal(GROUPS) + 0.7 * rng.standard_normal((4, GROUPS)))
        mean = groups.mean(axis=1)
        left_out = (groups.sum(axis=1, keepdims=True) - groups) / (GROUPS - 1)
        clock = np.exp(0.02 * rng.standard_normal(4))
        curve = curve_of(100 / seconds * np.exp(mean), seconds * clock, left_out - mean[:, None], 1.96 * 0.02)
        found = read_target(curve, 100 / true)
        held.append(found.low <= true <= found.high)
    assert 0.935 <= np.mean(held) <= 0.985


def test_students_interval_over_three_trainings_holds_the_true_time_as_often_as_it_says() -> None:
    rng = np.random.default_rng(4)
    plain, true = power_law(), 14.0
    held = []
    for _ in range(600):
        found = read_target(with_trainings(plain, plain.fid * np.exp(0.05 * rng.standard_normal((3, 1)))), 100 / true)
        held.append(found.low <= true <= found.high)
    assert 0.925 <= np.mean(held) <= 0.975


def test_over_trainings_the_noise_of_images_that_they_share_is_covered_too() -> None:
    rng = np.random.default_rng(5)
    plain, true, held = power_law(), 14.0, []
    for _ in range(600):
        groups = 0.3 * rng.standard_normal(GROUPS)  # the same for all trainings and points
        left_out = (groups.sum() - groups) / (GROUPS - 1) - groups.mean()
        fids = plain.fid * np.exp(groups.mean() + 0.02 * rng.standard_normal((3, 1)))
        found = read_target(with_trainings(plain, fids, np.broadcast_to(left_out, (3, 4, GROUPS))), 100 / true)
        held.append(found.low <= true <= found.high)
    assert 0.93 <= np.mean(held) <= 0.995
