"""Times to a FID target on curves whose true answer is known, and how often their intervals hold it."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from kit import tables
from pandas import DataFrame

from harness.report.analysis.derive import Analysis, derive
from harness.report.analysis.method_curve import LATENCY, THROUGHPUT, MethodCurve, build_curve
from harness.report.analysis.rows import typed_table
from harness.report.analysis.target_ratio import BOTH_BOUNDS, THE_SAME, read_ratio
from harness.report.analysis.target_time import (
    AT_SMALLEST,
    FEWER_TRAININGS,
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
from harness.report.analysis.time_to_quality import ClassQuality, rank_order, read_class, read_targets
from harness.report.analysis.times import add_pooled_times

GROUPS = 20
STEPS = (5, 10, 20, 40)
LATENCIES = ("latency_seconds", "latency_low_seconds", "latency_high_seconds")


def power_law(steps: tuple[int, ...] = STEPS, at_one: float = 100.0, pace: float = 1.0) -> MethodCurve:
    """Return a curve of FID = at_one / seconds with no noise, at `pace` seconds a step."""
    seconds = pace * np.array(steps, dtype=np.float64)
    return curve_of(at_one / seconds, seconds, np.zeros((len(steps), GROUPS)))


def curve_of(fid: np.ndarray, seconds: np.ndarray, deviations: np.ndarray, timing: float = 0.0) -> MethodCurve:
    """Return a curve with these replicates (log deviations, [points, groups]) and half width of log times."""
    points = len(fid)
    return MethodCurve(
        trial_ids=tuple(f"{place} {seconds[place]:.17g}" for place in range(points)),
        steps=np.arange(points, dtype=np.float64),
        fid=fid,
        fid_high=fid,
        log_seconds=np.log(seconds),
        log_relative=np.log(seconds),
        sides=np.full((points, 2), timing),
        relative_sides=np.full((points, 2), timing),
        log_replicates=np.log(fid)[:, None] + deviations,
        disturbed=(False,) * points,
        trainings=(),
        fid_by_training=np.empty((0, points)),
        log_replicates_by_training=np.empty((0, points, 0)),
        shift_by_training=np.empty((0, points)),
    )


def with_trainings(
    curve: MethodCurve, fid_by_training: np.ndarray, deviations: np.ndarray | None = None
) -> MethodCurve:
    """Return the curve with these FIDs [trainings, points] and log deviations [trainings, points, groups]."""
    count = len(fid_by_training)
    noise = np.zeros((*fid_by_training.shape, GROUPS)) if deviations is None else deviations
    changes = {"trainings": tuple(range(count)), "fid_by_training": fid_by_training,
               "log_replicates_by_training": np.log(fid_by_training)[:, :, None] + noise,
               "shift_by_training": np.zeros_like(fid_by_training)}  # fmt: skip
    return MethodCurve(**{**curve.__dict__, **changes})


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


# Whole classes


def analysis_of(*rows: dict, targets: tuple[float, ...] = (20.0, 10.0)) -> Analysis:
    trials = DataFrame(list(rows)).assign(fid_targets=json.dumps(targets))
    return derive({"trials": trials, "quality": tables.quality(trials, 0.002)})


def solver(method: str, law: float, pace: float, steps: tuple[int, ...] = STEPS, **changes: object) -> list[dict]:
    """Return rows of FID = law / steps whose time is pace * steps over the clock's 20 steps."""
    changes = {"solver": method.split("@")[0], **changes}
    return [tables.row(method, n, law / n, pace * n / 20, **changes) for n in steps]


def quality_of(*rows: dict, targets: tuple[float, ...] = (20.0, 10.0)) -> ClassQuality:
    analysis = analysis_of(*rows, targets=targets)
    return read_class(analysis.classes[0], analysis)


def baseline() -> list[dict]:
    return solver("ddim", 200.0, 1.0, is_baseline=True)


def test_no_bound_has_a_rank_and_lines_stand_by_time() -> None:
    quality = quality_of(
        *baseline(),
        *solver("slow", 200.0, 2.0),
        *solver("best", 40.0, 1.0),
        *solver("never", 900.0, 1.0),
        *solver("alone", 100.0, 1.0, steps=(20,)),
    )
    times = sorted(
        (one for one in quality.times.values() if one.target == 10.0), key=lambda one: one.rank or len(quality.times)
    )
    by_method = {one.line.method: one for one in times}
    assert by_method["best"].ranked.time.state == AT_SMALLEST
    assert by_method["alone"].ranked.time.state == AT_SMALLEST
    assert by_method["never"].ranked.time.state == NOT_REACHED
    assert [by_method[name].rank for name in ("best", "alone", "never")] == [None, None, None]
    assert (by_method["ddim"].rank, by_method["slow"].rank) == (1, 2)  # two bounds stand above them
    assert [line.method for line in quality.serial] == ["best", "alone", "ddim", "slow", "never"]


def test_what_ties_with_rank_1_and_with_the_first_is_marked() -> None:
    quality = quality_of(
        *baseline(),
        *solver("near", 200.0, 1.001),
        *solver("far", 200.0, 5.0),
        *solver("low", 40.0, 1.0),
        *solver("high", 95.0, 2.0, steps=(20,)),
    )
    found = {one.line.method: one for one in quality.times.values() if one.target == 10.0}
    assert {name: one.rank for name, one in found.items()} == {
        "ddim": 1, "near": 2, "far": 3, "low": None, "high": None,
    }  # fmt: skip
    # a bound is certainly sooner where its upper end is; another may be as soon, as its lower end is open
    assert {name for name, one in found.items() if one.ties_with_rank_1} == {"near", "high"}
    # the first in order is a bound
    assert min(found.values(), key=rank_order) is found["low"]
    assert {name for name, one in found.items() if one.ties_with_first} == {"high"}


def test_every_rank_is_a_value_and_ranks_rise_with_time() -> None:
    quality = quality_of(*baseline(), *solver("a", 150.0, 1.1), *solver("b", 170.0, 0.7), *solver("c", 60.0, 1.3))
    for target in quality.targets:
        found = sorted(
            (one for one in quality.times.values() if one.target == target and one.rank), key=lambda x: x.rank
        )
        assert found
        assert all(one.ranked.time.state == REACHED for one in found)
        assert [one.rank for one in found] == list(range(1, len(found) + 1))
        assert all(a.ranked.time.seconds <= b.ranked.time.seconds for a, b in pairwise(found))


def test_the_best_free_schedule_costs_nothing_and_keeps_the_baselines_solver() -> None:
    free = solver("ddim@logsnr", 160.0, 1.0, schedule="logsnr")
    searched = solver("ddim@few-step", 100.0, 1.0, schedule="few-step", prepared="schedule")
    priced = solver("ddim@gits", 90.0, 1.0, schedule="gits", prepare_seconds=96.0)
    other = solver("unipc", 80.0, 1.0)
    quality = quality_of(*baseline(), *free, *searched, *priced, *other)
    found = {one.line.method: one.by_measure[THROUGHPUT.name] for one in quality.times.values() if one.target == 10.0}
    assert {one.costless for one in found.values()} == {"unet-small:ddim@logsnr"}
    assert found["unipc"].over_costless.value == pytest.approx(2.0)
    assert found["unipc"].over_baseline.value == pytest.approx(2.5)
    assert found["ddim@logsnr"].over_costless.note == THE_SAME


def test_parallel_executors_rank_by_latency_and_apart() -> None:
    rows = solver("ddim/srds", 200.0, 5.0, executor="srds")
    quick = [{**row, **{name: 0.01 * row[name] for name in LATENCIES}} for row in rows]
    quality = quality_of(*baseline(), *quick)
    one = quality.times["unet-small:ddim/srds", 10.0]
    assert [line.method for line in quality.parallel] == ["ddim/srds"]
    assert one.ranked.measure is LATENCY
    assert one.ranked.time.seconds == pytest.approx(0.01 * 2.1 * tables.SECONDS * 20 * 5)  # at 20 steps
    assert one.rank == 1
    assert one.by_measure[THROUGHPUT.name].over_baseline.value == pytest.approx(0.2)


def test_a_disturbed_value_has_a_rank_only_where_its_interval_is_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.report.analysis import time_to_quality

    quality = quality_of(*baseline(), *solver("near", 200.0, 1.001), *solver("far", 200.0, 5.0))
    times = [one for one in quality.times.values() if one.target == 10.0]
    disturbed = []
    for one in times:
        time = type(one.ranked.time)(**{**one.ranked.time.__dict__, "disturbed": one.line.method != "ddim"})
        measured = type(one.ranked)(**{**one.ranked.__dict__, "time": time})
        disturbed.append(type(one)(**{**one.__dict__, "by_measure": {**one.by_measure, "throughput": measured}}))
    ranks = {one.line.method: one.rank for one in time_to_quality.rank_times(disturbed)}
    assert ranks == {"ddim": 1, "near": None, "far": 2}


def test_members_give_each_training_its_own_curve_and_time() -> None:
    rows = add_pooled_times(typed_table("trials", DataFrame(baseline())))
    second = rows.assign(training=1.0, fid=rows["fid"] * 2, speedup=rows["speedup"] / 1.05)
    members = pd.concat([rows.assign(training=0.0), second]).assign(row_id=lambda table: table["trial_id"])
    curve = build_curve(rows, LATENCY, DataFrame(), members)
    assert curve.trainings == (0, 1)
    assert curve.fid_by_training[1] == pytest.approx(2 * curve.fid)
    assert curve.shift_by_training == pytest.approx(0.0)
    in_batch = build_curve(rows, THROUGHPUT, DataFrame(), members)
    assert np.exp(in_batch.shift_by_training[1]) == pytest.approx(1.05)


def incomplete(*kept: tuple[float, tuple[int, ...]]) -> MethodCurve:
    """Return the baseline's curve in trainings with these factors of FID at these step counts."""
    rows = add_pooled_times(typed_table("trials", DataFrame(baseline())))
    each = [
        rows[rows["steps"].isin(steps)].assign(
            training=float(place), fid=lambda table, factor=factor: table["fid"] * factor
        )
        for place, (factor, steps) in enumerate(kept)
    ]
    members = pd.concat(each).assign(row_id=lambda table: table["trial_id"])
    of_each = members.groupby("trial_id")["fid"]
    return build_curve(rows.assign(fid=rows["trial_id"].map(of_each.mean())), THROUGHPUT, DataFrame(), members)


def test_a_training_without_all_points_of_the_line_does_not_count() -> None:
    # FID 200 / steps: 10.0 lies at 20 steps; the third training was run at 5 steps alone
    every = ((1.0, STEPS), (1.01, STEPS), (1.02, STEPS))
    whole = read_target(incomplete(*every), 9.0)
    found = read_target(incomplete(*every, (1.0, (5,))), 9.0)
    assert (found.state, found.reached, found.trainings) == (REACHED, 3, 3)
    assert (found.seconds, found.high) == (pytest.approx(whole.seconds), pytest.approx(whole.high))
    assert FEWER_TRAININGS.format(3, 1) in found.notes
    assert whole.notes == ()


def test_one_whole_training_is_read_alone_and_by_its_own_fids() -> None:
    curve = incomplete((1.0, STEPS), (3.0, (5, 40)))
    found = read_target(curve, 9.0)
    assert (found.state, found.trainings) == (REACHED, 1)
    assert found.seconds == pytest.approx(tables.SECONDS * 20 * (200 / 9.0) / 20)
    assert FEWER_TRAININGS.format(1, 1) in found.notes
    assert curve.fid == pytest.approx([40.0, 20.0, 10.0, 5.0])


def test_the_curve_has_the_points_of_its_first_training() -> None:
    curve = incomplete((1.0, (5, 10, 20)), (1.0, STEPS))
    assert curve.steps.tolist() == [5, 10, 20]
    assert curve.fid_by_training.shape == (2, 3)
    assert curve.left_out == 0


@pytest.mark.parametrize(
    "stored", ["no JSON", "7", "null", '{"a": 1}', '["a"]', "[true]", "[null, 3]", "[NaN]", "[-1.0]", "[" * 100_000]
)
def test_stored_targets_that_are_no_list_of_numbers_are_none(stored: str) -> None:
    assert read_targets(DataFrame({"fid_targets": [stored, "[3, 5.5]", ""]})) == (5.5, 3.0)
    assert read_targets(DataFrame({"fid_targets": [stored]})) == ()


def test_a_throughput_of_zero_gives_no_time() -> None:
    stopped = {"throughput_images_per_second": 0.0, "speedup": 0.0, "speedup_low": 0.0, "speedup_high": 0.0}
    quality = quality_of(*baseline(), *solver("stopped", 50.0, 1.0, **stopped))
    time = quality.times["unet-small:stopped", 10.0].by_measure[THROUGHPUT.name].time
    assert time.state == NOT_MEASURED
    rows = add_pooled_times(typed_table("trials", DataFrame(baseline())))
    assert not len(build_curve(rows.assign(pooled_seconds_per_image=math.inf), THROUGHPUT, DataFrame()).fid)


def test_without_targets_nothing_is_read() -> None:
    quality = quality_of(*baseline(), targets=())
    assert quality.times == {}
    assert quality.targets == ()
