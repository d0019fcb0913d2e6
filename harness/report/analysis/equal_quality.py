"""Speed-up at equal quality: the baseline's time to reach a method's FID, over the method's time.

The baseline's curve is one solver at several step counts, cut down to its running best.
That is: points sorted by time, without those that do not improve on a faster one.
For a user of the baseline never pays more time for a worse FID.
Between points, log time is linear in log FID, which is exact where FID falls as a power of time.
Beyond its ends the curve is not extrapolated.
A FID better than its best point gives "at least", one worse than its worst point gives "at most".
A bound comes with the end of its interval that it stands for: "at least" with the lower, "at most" with the upper.

Intervals hold the errors of all FIDs, the row's and the curve's: the ratio is read in every draw of them
(harness.report.analysis.draws: paired noise of images, trainings). For a bound the draws that fall inside the curve
count, so one whose FID may be no better than the curve's end comes with a lower end below it.
Errors of times are added in squares, in log space.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from pandas import DataFrame, Series

from harness.report.analysis.draws import FidDraws
from harness.stats import LEVEL

NO_FID = "FID was not measured"
NO_TIME = "speed-up over the clock was not measured"
NO_CURVE = "no VALID point of the baseline's curve in this class"
ITSELF = "a point of the baseline's own curve: 1 by definition"
ABOVE = "better than the best FID of the baseline's curve: a lower bound, not extrapolated"
BELOW = "worse than the worst FID of the baseline's curve: an upper bound, not extrapolated"
NO_INTERVAL = "no interval: jackknife replicates or timing intervals are missing"
NO_BOUND = "and no bound without its interval"
OPEN_HIGH = "the interval's upper end lies beyond the baseline's slowest point"
OPEN_LOW = "the interval's lower end lies beyond the baseline's fastest point"


_SPEEDUP = ["relative_time", "relative_time_high", "relative_time_low"]
"""Columns whose inverses are the speed-up over the clock and the ends of its interval, drift included."""


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


def read_log_times(time: np.ndarray, log_fids: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return `read_log_time` of many curves with the same times, and on which side of the curve each reading lies.

    `time` [points]; `log_fids` [draws, points]; `at` [draws] holds log FIDs.
    The side is 1 where the FID is better than the curve's best, -1 where it is worse than its worst, else 0.
    """
    # the running best of each draw
    order = np.argsort(time, kind="stable")
    log_time, best = np.log(time[order]), np.minimum.accumulate(log_fids[:, order], axis=1)
    draws = np.arange(len(at))
    reached = best <= at[:, None]

    # the point that reaches the FID, and the last improvement before it
    right = np.where(reached.any(axis=1), np.argmax(reached, axis=1), len(time) - 1)
    before = best[draws, np.maximum(right - 1, 0)]
    left = np.argmax(best == before[:, None], axis=1)
    fall = before - best[draws, right]
    share = np.where(fall > 0, (at - best[draws, right]) / np.where(fall > 0, fall, 1.0), 0.0)
    found = (1 - share) * log_time[right] + share * log_time[left]

    # beyond an end
    side = np.where(at < best[:, -1], 1, np.where(at > best[:, 0], -1, 0))
    end = np.argmax(best == best[:, -1:], axis=1)
    return np.where(side > 0, log_time[end], np.where(side < 0, log_time[0], found)), side


def equal_quality_columns(row: Series, baseline: DataFrame, draws: FidDraws) -> dict[str, float | str]:
    """Return the columns of one trial: equal_quality_speedup and those that belong to it.

    They end in _low, _high, _at_least, _at_most and _note.
    `baseline` holds the VALID rows of the baseline's curve; `draws` those of the row and of it.
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
    quality = _read_errors(row, curve, time, draws, reading.log_time)
    down, up = _timing_widths(row, curve, reading.weights)
    low = math.exp(log_ratio - math.hypot(quality.below, down))
    high = math.exp(log_ratio + math.hypot(quality.above, up))

    # a bound, or a value
    note = {">=": ABOVE, "<=": BELOW}.get(reading.side, "")
    if note and math.isnan(low):
        return _columns(note=f"{note}; {NO_INTERVAL}, {NO_BOUND}")
    if reading.side == ">=":
        return _columns(low=low, at_least=math.exp(log_ratio), note=note)
    if reading.side == "<=":
        return _columns(high=high, at_most=math.exp(log_ratio), note=note)
    return _columns_inside_curve(log_ratio, low, high, quality)


@dataclass(frozen=True)
class _ReadingErrors:
    """How far the errors of FIDs let a log time lie below and above; which ends lie beyond the curve."""

    below: float = math.nan
    above: float = math.nan
    is_open_below: bool = False
    is_open_above: bool = False


def _columns_inside_curve(log_ratio: float, low: float, high: float, quality: _ReadingErrors) -> dict:
    """Return the columns of a reading inside the curve.

    An end of the interval that lies beyond the curve stays empty.
    """
    value = math.exp(log_ratio)
    if math.isnan(low):
        return _columns(value=value, note=NO_INTERVAL)

    notes: list[str] = []
    if quality.is_open_above:
        high, notes = math.nan, [*notes, OPEN_HIGH]
    if quality.is_open_below:
        low, notes = math.nan, [*notes, OPEN_LOW]
    return _columns(value=value, low=low, high=high, note="; ".join(notes))


def _read_errors(row: Series, curve: DataFrame, time: np.ndarray, draws: FidDraws, log_time: float) -> _ReadingErrors:
    """Return the errors of the log time read at the row's FID; NaN where a FID has no error.

    An end is open where more draws than the interval leaves out lie beyond the curve there.
    """
    drawn = draws.of([row["trial_id"], *curve["trial_id"]])
    if drawn is None:
        return _ReadingErrors()
    found, side = read_log_times(time, drawn[:, 1:], drawn[:, 0])

    tail = (1 - LEVEL) / 2
    low, high = np.quantile(found, [tail, 1 - tail])
    below, above = max(log_time - float(low), 0.0), max(float(high) - log_time, 0.0)
    return _ReadingErrors(below, above, bool((side < 0).mean() > tail), bool((side > 0).mean() > tail))


def _timing_widths(row: Series, curve: DataFrame, weights: np.ndarray) -> tuple[float, float]:
    """Return how far the timing intervals let the log ratio lie down and up."""
    own, others = 1.0 / row[_SPEEDUP].to_numpy(float), 1.0 / curve[_SPEEDUP].to_numpy(float)
    down, up = _log_sides(*own)
    below, above = read_widths(others, weights)
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
