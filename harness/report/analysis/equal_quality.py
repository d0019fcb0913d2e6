"""Speed-up at equal quality: the baseline's time to reach a method's FID, over the method's time.

The baseline's curve is one solver at several step counts, cut down to its running best.
That is: points sorted by time, without those that do not improve on a faster one.
For a user of the baseline never pays more time for a worse FID.
Between points, log time is linear in log FID, which is exact where FID falls as a power of time.
Beyond its ends the curve is not extrapolated.
A FID better than its best point gives "at least", one worse than its worst point gives "at most".
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from pandas import DataFrame, Series

from harness.report.analysis.replicates import common_replicates, half_width

NO_FID = "FID was not measured"
NO_TIME = "speed-up over the clock was not measured"
NO_CURVE = "no VALID point of the baseline's curve in this class"
ITSELF = "a point of the baseline's own curve: 1 by definition"
ABOVE = "better than the best FID of the baseline's curve: a lower bound, not extrapolated"
BELOW = "worse than the worst FID of the baseline's curve: an upper bound, not extrapolated"
NO_INTERVAL = "no interval: jackknife replicates or timing intervals are missing"
OPEN_HIGH = "the interval's upper end lies beyond the baseline's slowest point"
OPEN_LOW = "the interval's lower end lies beyond the baseline's fastest point"


@dataclass(frozen=True)
class CurveReading:
    """The baseline's log time at a FID, read off its curve."""

    log_time: float
    side: str
    """">=" above the curve's end, "<=" below it, "" inside."""
    weights: np.ndarray
    """Shares [points] of the points' log times in `log_time`."""


def running_best(time: np.ndarray, fid: np.ndarray) -> np.ndarray:
    """Return the indices of the points that improve on every faster one, in order of time."""
    order = np.lexsort((fid, time))
    best_before = np.concatenate([[np.inf], np.minimum.accumulate(fid[order])[:-1]])
    return order[fid[order] < best_before]


def read_log_time(time: np.ndarray, fid: np.ndarray, at: float) -> CurveReading:
    """Return the log time at the FID `at`, clamped to the ends of the curve `time`, `fid` [points]."""
    # the curve
    kept = running_best(time, fid)[::-1]  # slowest and best first, so that log FID increases
    log_fid, log_time = np.log(fid[kept]), np.log(time[kept])
    here = math.log(at)
    weights = np.zeros(len(time))

    # beyond an end
    if here < log_fid[0] or here > log_fid[-1]:
        end, side = (0, ">=") if here < log_fid[0] else (-1, "<=")
        weights[kept[end]] = 1.0
        return CurveReading(float(log_time[end]), side, weights)

    # between two points
    right = min(int(np.searchsorted(log_fid, here, side="right")), len(kept) - 1)
    left = max(right - 1, 0)
    share = 0.0 if left == right else (here - log_fid[left]) / (log_fid[right] - log_fid[left])
    weights[kept[left]] += 1.0 - share
    weights[kept[right]] += share
    return CurveReading(float((1.0 - share) * log_time[left] + share * log_time[right]), "", weights)


def equal_quality_columns(row: Series, baseline: DataFrame, replicates: DataFrame) -> dict[str, float | str]:
    """Return the columns of one trial: equal_quality_speedup and those that belong to it.

    They end in _low, _high, _at_least, _at_most and _note.
    `baseline` holds the VALID rows of the baseline's curve.
    All speed-ups are relative to the same clock trial.
    """
    # what cannot be read
    curve = baseline[(baseline["fid"] > 0) & (baseline["speedup"] > 0)]
    if not row["fid"] > 0:
        return _columns(note=NO_FID)
    if not row["speedup"] > 0:
        return _columns(note=NO_TIME)
    if curve.empty:
        return _columns(note=NO_CURVE)

    # the curve at the row's FID
    time, fid = 1.0 / curve["speedup"].to_numpy(), curve["fid"].to_numpy()
    reading = read_log_time(time, fid, row["fid"])
    if row["trial_id"] in list(curve["trial_id"].iloc[running_best(time, fid)]):
        return _columns(value=1.0, note=ITSELF)

    # ratio and interval
    log_ratio = reading.log_time + math.log(row["speedup"])
    quality = _quality_half_width(row, curve, time, replicates)
    down, up = _timing_widths(row, curve, reading.weights)
    low = math.exp(log_ratio - math.hypot(quality, down))
    high = math.exp(log_ratio + math.hypot(quality, up))

    if reading.side == ">=":
        return _columns(low=low, at_least=math.exp(log_ratio), note=ABOVE)
    if reading.side == "<=":
        return _columns(high=high, at_most=math.exp(log_ratio), note=BELOW)
    return _columns_inside_curve(log_ratio, low, high, quality, reading, time[running_best(time, fid)])


def _columns_inside_curve(
    log_ratio: float, low: float, high: float, quality: float, reading: CurveReading, times: np.ndarray
) -> dict:
    """Return the columns of a reading inside the curve.

    An end of the interval that lies beyond the curve stays empty.
    """
    value = math.exp(log_ratio)
    if math.isnan(low):
        return _columns(value=value, note=NO_INTERVAL)

    notes: list[str] = []
    if reading.log_time + quality > math.log(times.max()):
        high, notes = math.nan, [*notes, OPEN_HIGH]
    if reading.log_time - quality < math.log(times.min()):
        low, notes = math.nan, [*notes, OPEN_LOW]
    return _columns(value=value, low=low, high=high, note="; ".join(notes))


def _quality_half_width(row: Series, curve: DataFrame, time: np.ndarray, replicates: DataFrame) -> float:
    """Return half the 95 % interval of the log ratio from the FIDs alone.

    Replicate k leaves out group k on both sides.
    """
    values = common_replicates(replicates, [row["trial_id"], *curve["trial_id"]])
    if values is None or not np.all(values > 0):
        return math.nan
    logs = [read_log_time(time, values[1:, k], values[0, k]).log_time for k in range(values.shape[1])]
    return half_width(np.array(logs))


def _timing_widths(row: Series, curve: DataFrame, weights: np.ndarray) -> tuple[float, float]:
    """Return how far the timing intervals let the log ratio lie down and up."""
    down, up = _log_sides(row["speedup"], row["speedup_low"], row["speedup_high"])
    below, above = read_widths(curve[["speedup", "speedup_low", "speedup_high"]].to_numpy(), weights)
    return math.hypot(down, below), math.hypot(up, above)


def read_widths(speedups: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """Return how far a log time that was read with these weights [points] may lie below and above.

    `speedups` [points, 3] holds each point's speed-up and the ends of its interval.
    A higher speed-up is a lower time.
    """
    sides = [(share, *_log_sides(*point)) for share, point in zip(weights, speedups, strict=True) if share > 0]
    return math.hypot(*(share * up for share, _, up in sides)), math.hypot(*(share * down for share, down, _ in sides))


def _log_sides(value: float, low: float, high: float) -> tuple[float, float]:
    if not (low > 0 and high > 0):
        return math.nan, math.nan
    return max(math.log(value / low), 0.0), max(math.log(high / value), 0.0)


def _columns(
    value: float = math.nan,
    low: float = math.nan,
    high: float = math.nan,
    at_least: float = math.nan,
    at_most: float = math.nan,
    note: str = "",
) -> dict[str, float | str]:
    name = "equal_quality_speedup"
    return {
        name: value,
        f"{name}_low": low,
        f"{name}_high": high,
        f"{name}_at_least": at_least,
        f"{name}_at_most": at_most,
        f"{name}_note": note,
    }
