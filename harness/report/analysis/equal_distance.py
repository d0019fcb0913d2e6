"""Parallel executors at equal distance to the serial result: which reaches the same error faster.

An executor that stops sooner is faster and further from the serial run.
Tolerances of two executors mean different things.
So each executor's tolerances make a curve of time against `distance_to_serial`.
Two curves of the same steps are read at one distance, as at equal quality:
on the running best, log time linear in log distance, never beyond a curve's ends.
The distance is of one batch, the time of one image alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from pandas import DataFrame

from harness.report.analysis.derive import Analysis
from harness.report.analysis.equal_quality import read_log_time, read_widths, running_best
from harness.report.analysis.executor_rows import (
    drop_parameter,
    key_without_parameter,
    select_parallel_rows,
    serial_run_key,
    speedups_over_serial,
)
from harness.report.formats import DASH, Section, format_interval, format_number

HEADINGS = (
    "One executor", "Another", "Steps", "Distances of one", "Distances of the other", "Read at distance",
    "Speed-up of one over serial", "Speed-up of the other", "One over the other", "The same at the common range's ends",
)  # fmt: skip
NO_COMMON = "no common distance"


@dataclass(frozen=True)
class ExecutorCurve:
    """One executor at several tolerances, a point each, nearest to the serial result first."""

    series: str
    executor: str
    steps: float
    run_key: str
    """Key of the serial run and the number of devices: curves of one key are compared."""
    points: DataFrame
    """Columns distance, speedup, low and high (its interval), is_best (on the running best)."""

    @property
    def ends(self) -> tuple[float, float]:
        """Return the least and the largest distance on the running best."""
        best = self.points[self.points["is_best"]]["distance"]
        return float(best.min()), float(best.max())


@dataclass(frozen=True)
class _SpeedupReading:
    """Log speed-up at a distance, and how far the timing lets it lie below and above."""

    log_speedup: float
    below: float
    above: float


def executor_curves(rows: DataFrame) -> list[ExecutorCurve]:
    """Return a curve per executor that was measured at two distances or more, by steps and name.

    `rows` are those of `select_parallel_rows`.
    """
    # what was measured
    rows = rows.assign(
        distance=rows["distance_to_serial"], speedup=speedups_over_serial(rows),
        low=rows["speedup_over_serial_low"], high=rows["speedup_over_serial_high"],
    )  # fmt: skip
    rows = rows[(rows["distance"] > 0) & (rows["speedup"] > 0)]

    # a curve per executor
    alike = [key_without_parameter(row, "tolerance") for _, row in rows.iterrows()]
    found = []
    for _, group in rows.groupby(np.array(alike, dtype=object)):
        points = group[["distance", "speedup", "low", "high"]].sort_values(["distance", "speedup"], ignore_index=True)
        best = running_best(1 / points["speedup"].to_numpy(), points["distance"].to_numpy())
        if len(best) > 1:
            row = group.iloc[0]
            points["is_best"] = points.index.isin(best)
            name = drop_parameter(row["series"], "tolerance")
            found.append(ExecutorCurve(name, row["executor"], row["steps"], serial_run_key(row), points))
    return sorted(found, key=lambda curve: (curve.steps, curve.series))


def equal_distance_table(analysis: Analysis) -> Section:
    """Return a line for every two executors that ran to tolerances.

    Steps, network and number of devices of the two are equal.
    """
    found = []
    for one in analysis.classes:
        for first, second in _comparable_pairs(executor_curves(select_parallel_rows(one, analysis))):
            found.append((first.series, second.series, f"{first.steps:.0f}", *_comparison_texts(first, second)))
    return Section(HEADINGS, found)


def _comparable_pairs(found: list[ExecutorCurve]) -> Iterator[tuple[ExecutorCurve, ExecutorCurve]]:
    for first, second in combinations(found, 2):
        if first.run_key == second.run_key and first.executor != second.executor:
            yield first, second


def _comparison_texts(first: ExecutorCurve, second: ExecutorCurve) -> tuple[str, ...]:
    """Return the texts after the names.

    These are both ranges, and what is read in the middle of the common range and at its ends.
    """
    # the common range
    ranges = tuple(f"{format_number(low)} to {format_number(high)}" for low, high in (first.ends, second.ends))
    low, high = max(first.ends[0], second.ends[0]), min(first.ends[1], second.ends[1])
    if low > high:
        return (*ranges, NO_COMMON, *(DASH,) * 4)

    # speed-ups in its middle and at its ends
    middle = math.sqrt(low * high)
    one, other = _read_speedup(first, middle), _read_speedup(second, middle)
    ends = [
        math.exp(_read_speedup(first, at).log_speedup - _read_speedup(second, at).log_speedup) for at in (low, high)
    ]
    ratio = _SpeedupReading(
        one.log_speedup - other.log_speedup, math.hypot(one.below, other.above), math.hypot(one.above, other.below)
    )

    return (
        *ranges, format_number(middle), *(_reading_text(reading) for reading in (one, other, ratio)),
        f"{format_number(ends[0])} at {format_number(low)}, {format_number(ends[1])} at {format_number(high)}",
    )  # fmt: skip


def _read_speedup(curve: ExecutorCurve, distance: float) -> _SpeedupReading:
    """Return what the curve shows at a distance inside its range."""
    points = curve.points
    reading = read_log_time(1 / points["speedup"].to_numpy(), points["distance"].to_numpy(), distance)
    below, above = read_widths(points[["speedup", "low", "high"]].to_numpy(), reading.weights)
    return _SpeedupReading(-reading.log_time, above, below)  # a higher time is a lower speed-up


def _reading_text(reading: _SpeedupReading) -> str:
    low, high = (math.exp(reading.log_speedup + side) for side in (-reading.below, reading.above))
    return f"{format_number(math.exp(reading.log_speedup))} {format_interval(low, high)}".strip()
