"""What follows from the tables, against closed forms worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from kit import tables
from pandas import DataFrame

from harness.report.analysis import equal_quality as eq
from harness.report.analysis.derive import GAIN_NOT_SHOWN, NEVER, THE_CLOCK, break_even_images, derive
from harness.report.analysis.pareto import pareto_front
from harness.report.analysis.rows import last_attempts, typed_table


def hyperbola(method_fid: float, method_time: float, spread: float = 0.0) -> dict[str, DataFrame]:
    """Return a baseline with fid = 12 / time at times 0.25, 0.5, 1, 2, and one method beside it."""
    rows = [
        tables.row("ddim", nfe, 12 / (nfe / 20), nfe / 20, is_baseline=True, prepare_seconds=10.0)
        for nfe in (5, 10, 20, 40)
    ]
    rows.append(tables.row("fast", 8, method_fid, method_time, prepare_seconds=70.0))
    trials = DataFrame(rows)
    return {"trials": trials, "quality": tables.quality(trials, spread)}


def method_row(source: dict[str, DataFrame], method: str = "fast") -> pd.Series:
    rows = derive(source).classes[0].rows
    return rows[rows["method"] == method].iloc[0]


@pytest.mark.parametrize(("fid", "time", "ratio"), [(16.0, 0.25, 3.0), (12.0, 1.0, 1.0), (30.0, 0.8, 0.5)])
def test_on_a_power_law_the_ratio_is_read_exactly(fid: float, time: float, ratio: float) -> None:
    assert method_row(hyperbola(fid, time))["equal_quality_speedup"] == pytest.approx(ratio, rel=1e-12)


def test_without_quality_noise_the_interval_is_that_of_the_timings() -> None:
    rows = derive(hyperbola(12.0, 0.5)).classes[0].rows
    row, point = rows[rows["method"] == "fast"].iloc[0], rows[rows["relative_time"] == 1.0].iloc[0]  # read at time 1
    faster = math.log(row["relative_time"] / row["relative_time_low"])
    slower = math.log(point["relative_time_high"] / point["relative_time"])
    up = math.hypot(faster, slower)
    assert faster > 0.01 < slower
    assert row["equal_quality_speedup_high"] == pytest.approx(2 * math.exp(up), rel=1e-9)


def test_with_quality_noise_the_interval_is_wider_and_holds_the_value() -> None:
    calm, noisy = method_row(hyperbola(16.0, 0.25)), method_row(hyperbola(16.0, 0.25, 0.01))
    low, high = noisy["equal_quality_speedup_low"], noisy["equal_quality_speedup_high"]
    assert low < calm["equal_quality_speedup_low"] < 3.0 < calm["equal_quality_speedup_high"] < high


@pytest.mark.parametrize(
    ("fid", "column", "bound", "note"),
    [(3.0, "at_least", 2 / 0.25, eq.ABOVE), (100.0, "at_most", 0.25 / 0.25, eq.BELOW)],
)
def test_beyond_the_curve_there_is_a_bound_and_no_ratio(fid: float, column: str, bound: float, note: str) -> None:
    row = method_row(hyperbola(fid, 0.25))
    assert math.isnan(row["equal_quality_speedup"])
    assert row[f"equal_quality_speedup_{column}"] == pytest.approx(bound)
    assert row["equal_quality_speedup_note"] == note


def test_an_interval_never_reaches_beyond_the_curve() -> None:
    row = method_row(hyperbola(6.02, 0.25, 0.01))  # the baseline's best FID is 6
    assert math.isnan(row["equal_quality_speedup_high"])
    assert eq.OPEN_HIGH in row["equal_quality_speedup_note"]


def test_a_slower_and_worse_point_of_the_baseline_is_not_on_its_curve() -> None:
    time, fid = np.array([1.0, 2.0, 4.0]), np.array([10.0, 11.0, 5.0])
    assert list(eq.running_best(time, fid)) == [0, 2]
    assert math.exp(eq.read_log_time(time, fid, 10.0).log_time) == pytest.approx(1.0)
    assert math.exp(eq.read_log_time(time, fid, math.sqrt(50.0)).log_time) == pytest.approx(2.0)


def test_a_missing_fid_or_time_leaves_a_reason() -> None:
    source = hyperbola(16.0, 0.25)
    source["trials"].loc[4, "fid"] = None
    assert method_row(source)["equal_quality_speedup_note"] == eq.NO_FID
    source = hyperbola(16.0, 0.25)
    source["trials"].loc[4, "speedup"] = None
    assert method_row(source)["equal_quality_speedup_note"] == eq.NO_TIME


def test_without_replicates_there_is_a_ratio_but_no_interval() -> None:
    source = hyperbola(16.0, 0.25)
    del source["quality"]
    row = method_row(source)
    assert row["equal_quality_speedup"] == pytest.approx(3.0)
    assert math.isnan(row["equal_quality_speedup_low"])
    assert row["equal_quality_speedup_note"] == eq.NO_INTERVAL


def test_the_pareto_front_keeps_equal_pairs_and_drops_empty_cells() -> None:
    cost = np.array([1.0, 2.0, 2.0, 3.0, 1.0, np.nan])
    fid = np.array([9.0, 5.0, 5.0, 6.0, 9.5, 0.1])
    assert list(pareto_front(cost, fid)) == [True, True, True, False, False, False]


def test_rows_closer_than_their_paired_interval_share_a_tie_group() -> None:
    rows = DataFrame([tables.row("a", 5, 4.0, 1.0), tables.row("b", 5, 4.02, 1.0), tables.row("c", 5, 4.5, 1.0)])
    wave = np.tile([1.0, -1.0], tables.GROUPS // 2)
    frames = [
        DataFrame({"trial_id": one["trial_id"], "attempt": 1, "group": range(20), "fid": one["fid"] + size * wave})
        for (_, one), size in zip(rows.iterrows(), (0.01, 0.015, 0.02), strict=True)
    ]  # fmt: skip
    derived = derive({"trials": rows, "quality": pd.concat(frames)}).classes[0].rows.set_index("method")
    # paired half-width of a and b: 2.093 * sqrt(19 / 20 * 20 * 0.005 ** 2) = 0.0456; their own are 0.09 and more
    assert list(derived.loc[["a", "b", "c"], "tie_group"]) == [1, 1, 2]


def test_yield_and_break_even_follow_their_definitions() -> None:
    source = hyperbola(16.0, 0.25)
    source["trials"].loc[4, "flops_per_image"] = 0.5 * tables.FULL_FLOPS * 20
    row = method_row(source)
    assert row["flops_to_time_yield"] == pytest.approx((1 - 0.25) / (1 - 0.5))
    # 60 device-seconds beyond the baseline's; an image takes 0.25 * 24 ms, the baseline three times that
    assert row["break_even_images"] == pytest.approx(60 / (2 * 0.25 * 0.024))


@pytest.mark.parametrize(("time", "note"), [(0.99, GAIN_NOT_SHOWN), (1.005, GAIN_NOT_SHOWN), (2.0, NEVER)])
def test_a_gain_that_its_interval_does_not_show_pays_nothing_back(time: float, note: str) -> None:
    row = method_row(hyperbola(12.0, time))
    assert row["equal_quality_speedup"] == pytest.approx(1 / time)
    assert row["equal_quality_speedup_low"] < 1.0
    assert (row["equal_quality_speedup_high"] > 1.0) == (note == GAIN_NOT_SHOWN)
    assert math.isnan(row["break_even_images"])
    assert row["break_even_images_note"] == note


def test_a_gain_on_more_devices_is_held_against_all_of_them() -> None:
    """At 1.2 times the speed on two devices, as on one, nothing is saved."""
    row, baseline = (
        pd.Series({"prepare_seconds": 70.0, "throughput_images_per_second": 10.0}),
        DataFrame({"prepare_seconds": [10.0], "devices": [1]}),
    )
    one, two = (break_even_images(pd.Series({**row, "devices": n}), 1.2, (1.1, 1.3), baseline) for n in (1, 2))
    assert one == (pytest.approx(60 / (0.1 * 0.2)), "")
    assert (math.isnan(two[0]), two[1]) == (True, NEVER)


def test_yield_is_empty_with_a_reason_where_no_arithmetic_is_saved() -> None:
    rows = derive(hyperbola(16.0, 0.25)).classes[0].rows.set_index(["method", "nfe"])
    assert rows.loc[("ddim", 40.0), "flops_to_time_yield_note"] == "no arithmetic saved"
    assert rows.loc[("ddim", 20.0), "flops_to_time_yield_note"] == THE_CLOCK


def test_a_speedup_inside_the_clocks_own_interval_is_a_tie() -> None:
    one = derive(tables.tables()).classes[0]
    tied = one.rows[one.rows["clock_tie"]]
    # without the clock's calls in other blocks, drift is as wide as the clock's own interval
    low, high = (math.exp(-math.sqrt(2) * abs(math.log(end))) for end in (0.99, 1.01))
    assert one.floor == pytest.approx((low, 1 / high), rel=1e-3)
    assert set(zip(tied["method"], tied["nfe"], strict=True)) == {
        ("ddim", 20),
        ("ddim karras", 20),
        ("ddim logsnr", 20),
    }


def test_the_floor_holds_1_where_the_clocks_own_interval_does_not() -> None:
    source = hyperbola(16.0, 0.25)
    source["trials"].loc[2, ["speedup", "speedup_low", "speedup_high"]] = [0.985, 0.972, 0.998]
    one = derive(source).classes[0]
    assert one.clock is not None
    assert one.clock["nfe"] == 20
    assert one.floor[0] < 0.972
    assert one.floor[1] > 1.0
    assert one.floor == (1 / one.clock["relative_time_high"], 1 / one.clock["relative_time_low"])


@pytest.mark.parametrize(("low", "high", "tied"), [(0.9, 1.5, True), (1.15, 1.25, False), (math.nan, math.nan, False)])
def test_a_speedup_whose_own_interval_holds_1_is_a_tie(low: float, high: float, tied: bool) -> None:
    source = hyperbola(16.0, 1 / 1.2)
    source["trials"].loc[4, ["speedup_low", "speedup_high"]] = [low, high]
    assert derive(source).classes[0].floor[1] < 1.2
    assert method_row(source)["clock_tie"] == tied


@pytest.mark.parametrize(
    "column", ["extractor", "extractor_sha256", "device_name", "timing_tier", "timing_mode", "devices", "dataset"]
)
def test_rows_that_were_measured_differently_never_share_a_ranking(column: str) -> None:
    source = hyperbola(16.0, 0.25)
    source["trials"].loc[4, column] = 2 if column == "devices" else "other"
    classes = derive(source).classes
    assert sorted(len(one.rows) for one in classes) == [1, 4]


def test_only_the_last_attempt_counts() -> None:
    trials = typed_table("trials", tables.trials())
    last = last_attempts(trials)
    assert last["trial_id"].is_unique
    retried = last[last["trial_id"] == tables.trial_id("ddim", 8)].iloc[0]
    assert (retried["attempt"], retried["verdict"]) == (2, "VALID")


def test_seed_sets_of_one_configuration_become_one_row_with_their_mean() -> None:
    source = hyperbola(16.0, 0.25, 0.01)
    again = source["trials"].iloc[4:].assign(seed_set=1, fid=18.0, trial_id=tables.trial_id("fast", 8, 1))
    trials = pd.concat([source["trials"], again], ignore_index=True)
    row = method_row({"trials": trials, "quality": tables.quality(trials, 0.01)})
    assert row["fid"] == 17.0
    assert (row["seed_sets"], row["fid_by_seed_set"]) == ("0, 1", "16, 18")
    assert row["fid_low"] < 17.0 < row["fid_high"]


def test_the_order_of_rows_changes_nothing() -> None:
    first, second = (derive(tables.shuffled(tables.tables(), seed)) for seed in (1, 2))
    for one, other in zip(first.classes, second.classes, strict=True):
        pd.testing.assert_frame_equal(one.rows, other.rows)
    pd.testing.assert_frame_equal(first.invalid, second.invalid)


def test_rows_stand_by_network_method_and_steps() -> None:
    rows = derive(tables.shuffled(tables.tables(), 5)).classes[0].rows
    places = list(zip(rows["network"], rows["method"], rows["steps"], strict=True))
    assert places == sorted(places)
