"""Relative and pooled times: what they are made of, and that their intervals hold the truth as often as they say."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import pytest
from pandas import DataFrame

from harness.report.analysis.rows import typed_table
from harness.report.analysis.times import add_pooled_times, disturbed_banner

RATIOS = np.array([1.0, 0.25, 0.5, 0.8, 1.5, 2.0, 3.0, 4.0] * 3)
"""True time over the clock's, of latency and throughput alike; the first row is the clock's own."""
LATENCY, PER_IMAGE, BATCH = 0.02, 0.004, 50
T_OF_TEN = 2.228139
"""97.5 % quantile of Student's t: errors are estimated from eleven rounds."""


def ends(name: str, values: np.ndarray, errors: np.ndarray) -> dict[str, np.ndarray]:
    """Return a column and the ends of its interval: Student's t of ten degrees of freedom, in log space."""
    return {
        name: values,
        f"{name}_low": values * np.exp(-T_OF_TEN * errors),
        f"{name}_high": values * np.exp(T_OF_TEN * errors),
    }


@cache
def empty_rows(n: int) -> DataFrame:
    """Return rows with the columns that add_pooled_times reads, and no figure in them."""
    names = {"trial_id": [f"t{k}" for k in range(n)], "clock_trial_id": "t0"}
    rows = typed_table("trials", DataFrame(names))
    used = ("trial_id", "clock_trial_id", "disturbed", "cpu_share", "throughput", "speedup", "latency", "clock_")
    return rows[[name for name in rows if name.startswith(used)]]


def measured(
    rng: np.random.Generator, drift: float = 0.0, within: float = 0.03, absolute: float = 0.1, ratios: Any = RATIOS
) -> DataFrame:
    """Return rows as a run measures them: each block has a speed of its own, drift of its ratios, noise of medians.

    Spreads are standard deviations in log space; errors are known up to the noise of an estimate from eleven rounds.
    """
    n = len(ratios)
    speed = np.exp(rng.normal(0, absolute, n))

    def noisy(truth: Any) -> tuple[np.ndarray, np.ndarray]:
        errors = within * np.sqrt(rng.chisquare(10, n) / 10)
        return truth * np.exp(rng.normal(0, drift, n) + rng.normal(0, within, n)), errors

    time, time_error = noisy(ratios)
    latency, latency_error = noisy(ratios)
    batch, batch_error = noisy(PER_IMAGE * BATCH / LATENCY)
    own = latency * LATENCY * speed
    return empty_rows(n).assign(**{
        "throughput_batch": BATCH, "cpu_share": 1.0,
        **ends("speedup", 1 / time, time_error), **ends("latency_ratio", latency, latency_error),
        **ends("clock_batch_ratio", batch, batch_error),
        "clock_latency_seconds": LATENCY * speed * np.exp(rng.normal(0, within, n)),
        "clock_seconds_per_image": PER_IMAGE * speed * np.exp(rng.normal(0, within, n)),
        "latency_seconds": own, "latency_low_seconds": own * np.exp(-T_OF_TEN * latency_error),
        "latency_high_seconds": own * np.exp(T_OF_TEN * latency_error),
        "throughput_images_per_second": 1 / (time * PER_IMAGE * speed),
    })  # fmt: skip


def quiet(n: int = 8, **columns: Any) -> DataFrame:
    """Return rows of blocks that did not differ, but for the columns given."""
    rows = measured(np.random.default_rng(0), drift=0.0, within=1e-9, absolute=0.0, ratios=RATIOS[:n])
    return rows.assign(**columns)


def test_a_pooled_time_is_the_paired_ratio_times_the_clocks_median_over_blocks() -> None:
    fast = np.array([1.0, 1.0, 1.0, 2.0, 1.0, 1.0, 1.0, 0.5])
    found = add_pooled_times(
        quiet(clock_latency_seconds=LATENCY * fast, clock_seconds_per_image=PER_IMAGE * fast, latency_seconds=9.0)
    )
    np.testing.assert_allclose(found["relative_time"], RATIOS[:8], rtol=1e-6)
    np.testing.assert_allclose(found["relative_latency"], RATIOS[:8], rtol=1e-6)
    np.testing.assert_allclose(found["pooled_latency_seconds"], RATIOS[:8] * LATENCY, rtol=1e-6)
    np.testing.assert_allclose(found["pooled_seconds_per_image"], RATIOS[:8] * PER_IMAGE, rtol=1e-6)
    assert (found["pooled_latency_seconds_high"] / found["pooled_latency_seconds"]).to_numpy() == pytest.approx(2.0)
    assert (found["relative_latency_high"] / found["relative_latency"]).to_numpy() == pytest.approx(1.0)


def test_rows_that_share_a_timing_block_count_once() -> None:
    shared = quiet(8, clock_latency_seconds=[1.0, 1.0, 1.0, 1.0, 1.0, 3.0, 3.0, 5.0])
    assert add_pooled_times(shared)["pooled_latency_seconds"].iloc[0] == pytest.approx(1.0)
    once = shared.assign(timed_trial_id=["t0"] * 5 + ["t5", "t6", ""])
    assert add_pooled_times(once)["pooled_latency_seconds"].iloc[0] == pytest.approx(3.0)


def test_disturbed_blocks_do_not_enter_the_clocks_time_where_there_are_enough_others() -> None:
    rows = quiet(8, clock_latency_seconds=[1.0] * 6 + [9.0] * 2, disturbed=[""] * 6 + ["had 50 % of its core"] * 2)
    found = add_pooled_times(rows)
    assert found["pooled_latency_seconds"].iloc[0] == pytest.approx(1.0)
    assert found["pooled_latency_seconds_high"].iloc[0] == pytest.approx(1.0)
    mostly = rows.assign(clock_latency_seconds=[1.0] * 2 + [9.0] * 6, disturbed=[""] * 2 + ["had"] * 6)
    assert add_pooled_times(mostly)["pooled_latency_seconds"].iloc[0] == pytest.approx(9.0)


def test_the_spread_of_the_clocks_equal_work_widens_every_ratio() -> None:
    logs = 0.05 * np.array([1, -1, 1, -1, 1, -1, 1, -1])
    found = add_pooled_times(quiet(8, **ends("clock_batch_ratio", 10 * np.exp(logs), np.zeros(8))))
    # seven degrees of freedom of the blocks and one of the A/A row, t = 2.306
    half = 2.306004 * math.sqrt(8 * 0.05**2 / 8)
    for name in ("relative_time", "relative_latency"):
        np.testing.assert_allclose(np.log(found[f"{name}_high"] / found[name]), half, rtol=1e-4)
        np.testing.assert_allclose(np.log(found[name] / found[f"{name}_low"]), half, rtol=1e-4)


def test_clocks_of_different_batches_are_not_compared() -> None:
    ratios = np.array([10.0, 2.0] * 4)
    rows = quiet(8, **ends("clock_batch_ratio", ratios, np.zeros(8)), throughput_batch=[50, 2] * 4)
    found = add_pooled_times(rows)
    assert (found["relative_time_high"] / found["relative_time"]).max() < 1.001


def test_the_widened_interval_of_the_clocks_own_row_holds_one() -> None:
    rows = quiet()
    rows.loc[0, ["speedup", "speedup_low", "speedup_high"]] = [1.2, 1.15, 1.25]
    found = add_pooled_times(rows)
    assert found["relative_time_high"].iloc[0] == pytest.approx(1.0)
    own = math.log(1.2 / 1.15)
    drift = math.sqrt(math.log(1.2) ** 2 - own**2)
    assert math.log(found["relative_time_low"].iloc[3] / found["relative_time"].iloc[3]) <= -0.99 * drift
    assert found["relative_latency_high"].iloc[0] == pytest.approx(1.0)


def test_few_blocks_show_no_drift_but_that_of_the_clocks_own_row() -> None:
    rows = quiet(3)
    rows.loc[0, ["latency_ratio", "latency_ratio_low", "latency_ratio_high"]] = [0.98, 0.9, 1.05]
    found = add_pooled_times(rows)
    widths = np.log(found["relative_latency_high"] / found["relative_latency"])
    assert widths.iloc[1] == pytest.approx(-math.log(0.9))
    assert np.log(found["relative_time_high"] / found["relative_time"]).max() < 1e-6
    alone = add_pooled_times(rows[1:])  # the clock's row is in another class
    np.testing.assert_allclose(alone["relative_latency_high"], RATIOS[1:3], rtol=1e-6)


def test_disturbed_rows_have_the_drift_of_disturbed_blocks_and_others_do_not() -> None:
    logs = np.where(np.arange(16) < 8, 0.0, 0.1 * (-1.0) ** np.arange(16))
    rows = quiet(16, disturbed=[""] * 8 + ["had 50 % of its core"] * 8)
    found = add_pooled_times(rows.assign(**ends("clock_batch_ratio", 10 * np.exp(logs), np.zeros(16))))
    widths = np.log(found["relative_time_high"] / found["relative_time"]).to_numpy()
    assert widths[:8].max() < 1e-6
    assert widths[8:].min() > 0.2


def older(rows: DataFrame) -> DataFrame:
    """Return rows as they were stored before blocks told of the clock."""
    new = [c for c in rows if c.startswith(("latency_ratio", "clock_latency", "clock_seconds", "clock_batch"))]
    return rows.assign(**dict.fromkeys([*new, "throughput_batch"], math.nan))


def test_older_rows_keep_the_latency_of_their_block_with_the_clocks_spread_in_its_interval() -> None:
    rows = older(measured(np.random.default_rng(1)))
    found = add_pooled_times(rows)
    np.testing.assert_array_equal(found["pooled_latency_seconds"], rows["latency_seconds"])
    widths = np.log(found["pooled_latency_seconds_high"] / found["pooled_latency_seconds"])
    assert 0.12 < widths.median() < 0.35
    np.testing.assert_allclose(found["relative_latency"], rows["latency_seconds"] / rows["latency_seconds"][0])
    assert (found["relative_latency_high"] > found["relative_latency"]).all()
    clock = np.median(rows["speedup"] / rows["throughput_images_per_second"])
    np.testing.assert_allclose(found["pooled_seconds_per_image"], found["relative_time"] * clock)
    assert add_pooled_times(rows[1:])["relative_latency"].isna().all()


def test_rows_that_were_not_timed_and_tables_without_rows_stay_empty() -> None:
    rows = quiet()
    rows.loc[2, [c for c in rows if c.startswith(("speedup", "latency", "clock_latency", "clock_s"))]] = np.nan
    found = add_pooled_times(rows)
    names = ["relative_time", "relative_latency", "pooled_latency_seconds", "pooled_seconds_per_image"]
    assert found.loc[2, names].isna().all()
    assert found.drop(index=2)[names].notna().all(axis=None)
    assert len(add_pooled_times(typed_table("trials", None))) == 0


def coverage(column: str, truth: float, runs: int = 60, change: Any = lambda rows: rows, **spread: float) -> float:
    """Return how often the interval of a row other than the clock's holds the truth, over runs and rows."""
    rng, hits = np.random.default_rng(11), []
    for _ in range(runs):
        found = add_pooled_times(change(measured(rng, **spread)))[1:]
        hits.append(found[f"{column}_low"].le(truth * RATIOS[1:]) & found[f"{column}_high"].ge(truth * RATIOS[1:]))
    return float(np.mean(hits))


@pytest.mark.parametrize("drift", [0.0, 0.02, 0.06])
@pytest.mark.parametrize(
    ("column", "truth"), [("relative_time", 1.0), ("relative_latency", 1.0), ("pooled_latency_seconds", LATENCY)]
)
def test_intervals_with_drift_hold_the_truth_19_times_of_20(column: str, truth: float, drift: float) -> None:
    """250 runs give 93.4 to 98.2 %: least where drift is below the noise, since a variance below 0 counts as 0."""
    assert 0.91 <= coverage(column, truth, drift=drift) <= 0.985


def test_without_drift_in_them_they_would_not() -> None:
    def no_drift(rows: DataFrame) -> DataFrame:
        equal = rows["clock_batch_ratio"].median()
        return rows.assign(clock_batch_ratio=equal, latency_ratio=rows["latency_ratio"].where(rows.index > 0, 1.0))

    assert coverage("relative_latency", 1.0, drift=0.06, change=no_drift) < 0.75


def test_the_latency_of_a_block_alone_does_not_hold_the_truth_and_the_pooled_one_of_older_rows_does() -> None:
    rng = np.random.default_rng(12)
    rows = measured(rng, ratios=np.ones(400))
    raw = rows["latency_low_seconds"].le(LATENCY) & rows["latency_high_seconds"].ge(LATENCY)
    assert raw.mean() < 0.6
    assert 0.92 <= coverage("pooled_latency_seconds", LATENCY, change=older) <= 1.0


@pytest.mark.parametrize(("drift", "least"), [(0.0, 0.95), (0.03, 0.88)])
def test_with_the_clocks_own_row_alone_drift_as_large_as_noise_is_still_mostly_covered(
    drift: float, least: float
) -> None:
    assert least <= coverage("relative_time", 1.0, runs=60, change=older, drift=drift) <= 1.0


def test_a_banner_says_that_most_rows_were_disturbed() -> None:
    rows = quiet(5, disturbed=["had 60 % of its core"] * 3 + [""] * 2, cpu_share=[0.6, 0.5, 0.7, 1.0, 1.0])
    found = disturbed_banner(rows)
    assert found.startswith("Disturbed: 3 of 5 rows were timed while other work ran on the device")
    assert "60 % of its core (median)" in found
    assert disturbed_banner(rows[1:]) == disturbed_banner(quiet()) == disturbed_banner(rows[:0]) == ""
    on_gpu = rows.assign(cpu_share=1.0)
    assert "core" not in disturbed_banner(on_gpu)
