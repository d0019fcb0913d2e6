"""Times that may be compared across timing blocks: paired ratio to the clock, times the clock's pooled time.

The seconds of a block also hold what the machine did meanwhile. In the committed runs the clock's median moves by 7 to
14 % between blocks. A ratio to the clock in the same block is free of that, but for a rest: the drift between blocks.

Drift is estimated from work that is equal in all blocks. Each block calls the clock alone and in a batch; the ratio of
the two, `clock_batch_ratio`, has one true value. So its variance over blocks, less the mean variance within a block, is
the variance of the drift: the moment estimator of Hedges and Olkin, Statistical Methods for Meta-Analysis, 1985,
section 9.C (also Cochran, Biometrics 10, 1954). The A/A row, the clock timed against itself, has the true ratio 1:
one more observation with a known mean. Drift enters each interval in log space, by hypot, as Student's t of the
estimator's degrees of freedom times its root.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from pandas import DataFrame, Series

from harness.stats import LEVEL, median_interval

FEWEST_BLOCKS = 6
"""Below this, blocks give no variance and no order statistics; then the A/A row's own interval is all there is."""


@dataclass(frozen=True)
class _Estimate:
    """A positive figure per row and the ends of its 95 % interval, each [rows]."""

    value: Series
    low: Series
    high: Series


def add_pooled_times(rows: DataFrame) -> DataFrame:
    """Return rows of one clock with their relative and pooled times, see `derived.py`; pure.

    Rows stored before the columns of the clock's times were known have no paired latency. Their latency is that of
    their own block; its interval then includes the spread of the clock's throughput times over the blocks. That time
    itself is speedup / throughput_images_per_second there.
    """
    blocks = _timing_blocks(rows)
    is_clock = rows["trial_id"] == rows["clock_trial_id"]
    disturbed = rows["disturbed"] != ""

    # paired ratios with drift
    inverse = _Estimate(*(1.0 / _numbers(rows, f"speedup{end}") for end in ("", "_high", "_low")))
    paired = _Estimate(*(_numbers(rows, f"latency_ratio{end}") for end in ("", "_low", "_high")))
    time = _widen(inverse, _drift_by_row(blocks, inverse, is_clock, disturbed))
    latency = _widen(paired, _drift_by_row(blocks, paired, is_clock, disturbed))

    # pooled times of the clock
    per_image = _scale(time, _pooled_clock(blocks, "clock_seconds_per_image"))
    pooled = _scale(latency, _pooled_clock(blocks, "clock_latency_seconds"))

    # latency of the own block, where it has no pair
    alone = _Estimate(*(_numbers(rows, f"latency{end}_seconds") for end in ("", "_low", "_high")))
    own = _widen(alone, _absolute_drift(blocks))
    unpaired = rows["latency_ratio"].isna()
    columns = {
        "relative_time": time,
        "relative_latency": _fill(latency, unpaired, _over_clock(own, is_clock)),
        "pooled_latency_seconds": _fill(pooled, unpaired, own),
        "pooled_seconds_per_image": per_image,
    }
    ends = {
        f"{name}{end}": getattr(found, field)
        for name, found in columns.items()
        for end, field in (("", "value"), ("_low", "low"), ("_high", "high"))
    }
    return rows.assign(**ends)


def disturbed_banner(rows: DataFrame) -> str:
    """Return what to print above a table most of whose rows were disturbed while they were timed; else ""."""
    disturbed = rows["disturbed"] != ""
    if not 2 * disturbed.sum() > len(rows):
        return ""
    share = rows.loc[disturbed, "cpu_share"].median()
    had = f"; the process had {100 * share:.0f} % of its core (median)" if share < 1 else ""
    return (
        f"Disturbed: {disturbed.sum()} of {len(rows)} rows were timed while other work ran on the device{had}. "
        "Intervals of times and ratios are wide accordingly; for narrower ones run again on an idle machine."
    )


def _timing_blocks(rows: DataFrame) -> DataFrame:
    """Return one row per timing block, with the clock's figures in it; rows may share a block."""
    keys = rows["trial_id"]
    if "timed_trial_id" in rows:
        keys = rows["timed_trial_id"].where(rows["timed_trial_id"] != "", keys)
    blocks = rows.assign(_block=keys).drop_duplicates("_block")
    from_speedup = _numbers(blocks, "speedup") / _numbers(blocks, "throughput_images_per_second")
    return blocks.assign(
        clock_seconds_per_image=_numbers(blocks, "clock_seconds_per_image").fillna(from_speedup),
        clock_latency_seconds=_numbers(blocks, "clock_latency_seconds"),
        disturbed=blocks["disturbed"] != "",
    )


def _numbers(rows: DataFrame, column: str) -> Series:
    """Return a column as float64 [rows], also of a table without rows."""
    return rows[column].astype("float64")


def _drift_by_row(blocks: DataFrame, ratio: _Estimate, is_clock: Series, disturbed: Series) -> Series:
    """Return the half-width of drift in log space [rows], that of disturbed rows from disturbed blocks."""
    among = {state: _drift(blocks[blocks["disturbed"] == state], ratio, is_clock) for state in (False, True)}
    both = _drift(blocks, ratio, is_clock)
    if not all(found.enough for found in among.values()):
        return Series(both.half_width, index=disturbed.index)
    quiet = among[False].half_width
    return Series(np.where(disturbed, max(quiet, among[True].half_width), quiet), index=disturbed.index)


@dataclass(frozen=True)
class _Drift:
    half_width: float
    """Of a 95 % interval, in log space."""
    enough: bool
    """Whether it was estimated from a variance over blocks."""


def _drift(blocks: DataFrame, ratio: _Estimate, is_clock: Series) -> _Drift:
    """Return the drift between blocks of one kind of ratio; the A/A row counts if its block is among them."""
    own = is_clock[is_clock].index.intersection(blocks.index)
    deviation = np.log(ratio.value[own].to_numpy())
    ends = np.log(np.array([ratio.low[own], ratio.high[own]]))
    known = np.isfinite(deviation) & np.isfinite(ends).all(axis=0)
    deviation, ends = deviation[known], ends[:, known]

    # the same two calls of the clock in all blocks; those of another batch have another ratio
    squares = within = 0.0
    degrees = 0
    for _, group in blocks.groupby("throughput_batch"):
        middle, low, high = (_numbers(group, f"clock_batch_ratio{end}").to_numpy() for end in ("", "_low", "_high"))
        logs, errors = np.log(middle), np.log(high / low) / (2 * _t_quantile(math.inf))
        logs, errors = logs[np.isfinite(errors)], errors[np.isfinite(errors)]
        if len(logs) > 1:
            squares += ((logs - logs.mean()) ** 2).sum()
            within += (len(logs) - 1) * (errors**2).mean()
            degrees += len(logs) - 1

    if degrees < FEWEST_BLOCKS - 1:
        return _Drift(float(np.abs(ends).max(initial=0.0)), enough=False)

    # and the A/A row, whose true ratio is 1
    squares += (deviation**2).sum()
    within += (((ends[1] - ends[0]) / (2 * _t_quantile(math.inf))) ** 2).sum()
    degrees += len(deviation)
    half_width = _t_quantile(degrees) * math.sqrt(max(0.0, squares - within) / degrees)

    # at least so much that the A/A row's widened interval holds 1
    missed = np.maximum(np.maximum(ends[0], -ends[1]), 0.0)
    toward = np.where(deviation > 0, deviation - ends[0], ends[1] - deviation)
    least = np.where(missed > 0, np.sqrt(np.maximum(deviation**2 - toward**2, 0.0)), 0.0)
    return _Drift(max(half_width, float(least.max(initial=0.0))), enough=True)


def _pooled_clock(blocks: DataFrame, column: str) -> tuple[float, float, float]:
    """Return the clock's median seconds over blocks, and its interval; NaN where unknown.

    Disturbed blocks count only where there are too few others. The interval is that of order statistics; below six
    blocks Student's t of the logarithms. One block alone shows no spread: its interval is a point.
    """
    quiet = blocks.loc[~blocks["disturbed"], column].dropna()
    seconds = (quiet if len(quiet) >= FEWEST_BLOCKS else blocks[column].dropna()).to_numpy()
    if not len(seconds):
        return math.nan, math.nan, math.nan
    middle = float(np.median(seconds))
    if (found := median_interval(seconds)) is not None:
        return middle, *found
    width = 0.0
    if len(seconds) > 1:
        width = _t_quantile(len(seconds) - 1) * float(np.log(seconds).std(ddof=1)) / math.sqrt(len(seconds))
    return middle, middle * math.exp(-width), middle * math.exp(width)


def _absolute_drift(blocks: DataFrame) -> float:
    """Return the half-width of the clock's seconds per image over blocks, in log space; 0 for one block."""
    logs = np.log(blocks["clock_seconds_per_image"].dropna().to_numpy())
    return _t_quantile(len(logs) - 1) * float(logs.std(ddof=1)) if len(logs) > 1 else 0.0


def _widen(found: _Estimate, half_width: Series | float) -> _Estimate:
    """Return the estimate with an independent half-width in log space added to both sides."""
    return _Estimate(
        found.value,
        found.value * np.exp(-np.hypot(np.log(found.value / found.low), half_width)),
        found.value * np.exp(np.hypot(np.log(found.high / found.value), half_width)),
    )


def _scale(ratio: _Estimate, clock: tuple[float, float, float]) -> _Estimate:
    """Return ratio times the clock's time, with both intervals combined in log space."""
    middle, low, high = clock
    return _Estimate(
        ratio.value * middle,
        ratio.value * middle * np.exp(-np.hypot(np.log(ratio.value / ratio.low), math.log(middle / low))),
        ratio.value * middle * np.exp(np.hypot(np.log(ratio.high / ratio.value), math.log(high / middle))),
    )


def _over_clock(own: _Estimate, is_clock: Series) -> _Estimate:
    """Return times over that of the A/A row, another block; all NaN where there is none."""
    rows = is_clock[is_clock].index
    if not len(rows):
        empty = own.value * math.nan
        return _Estimate(empty, empty, empty)
    value, low, high = (float(end[rows[0]]) for end in (own.value, own.low, own.high))
    inverse = 1.0 / value, 1.0 / high, 1.0 / low
    return _scale(own, inverse)


def _fill(found: _Estimate, where: Series, other: _Estimate) -> _Estimate:
    """Return the estimate with the other's figures in the rows `where`."""
    return _Estimate(*(getattr(found, name).mask(where, getattr(other, name)) for name in ("value", "low", "high")))


def _t_quantile(degrees: float) -> float:
    """Return the 97.5 % quantile of Student's t of so many degrees of freedom; infinity gives the normal's."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, 0.5 + LEVEL / 2))
