"""Parallel executors at equal distance to the serial answer: which is the faster way to the same error.

An executor that stops sooner is faster and further from the serial run, and tolerances of two executors mean different
things. So each executor's tolerances make a curve of time against `distance_to_serial`, and two curves of the same
steps are read at one distance, as equal quality is: on the running best, log time linear in log distance, never beyond
a curve's ends. The distance is of one batch, the time of one image alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from pandas import DataFrame

from harness.report.analysis.derive import Analysis
from harness.report.analysis.equal_quality import read_time, read_widths, running_best
from harness.report.analysis.executor_rows import all_but, all_but_executor, overlapping, speedups, without
from harness.report.formats import DASH, interval, number
from harness.report.sections import Section

HEADINGS = (
    "One executor", "Another", "Steps", "Distances of one", "Distances of the other", "Read at distance",
    "Speed-up of one over serial", "Speed-up of the other", "One over the other", "The same at the common range's ends",
)  # fmt: skip
NO_COMMON = "no common distance"


@dataclass(frozen=True)
class Curve:
    """One executor at several tolerances: a point each, from the nearest to the serial answer to the furthest."""

    series: str
    executor: str
    steps: float
    task: str
    """What it computes, and on how many devices: curves of one task are compared."""
    points: DataFrame
    """distance, speedup, its interval's low and high, and is_best: whether the point is on the running best."""

    @property
    def ends(self) -> tuple[float, float]:
        """Return the least and the largest distance on the running best."""
        best = self.points[self.points["is_best"]]["distance"]
        return float(best.min()), float(best.max())


@dataclass(frozen=True)
class _Reading:
    log_speedup: float
    below: float
    above: float


def curves(rows: DataFrame) -> list[Curve]:
    """Return the executors, of `executor_rows.overlapping`, that were measured at two distances or more, by name."""
    rows = rows.assign(
        distance=rows["distance_to_serial"], speedup=speedups(rows),
        low=rows["speedup_over_serial_low"], high=rows["speedup_over_serial_high"],
    )  # fmt: skip
    rows = rows[(rows["distance"] > 0) & (rows["speedup"] > 0)]
    alike = [all_but(row, "tolerance") for _, row in rows.iterrows()]
    found = []
    for _, group in rows.groupby(np.array(alike, dtype=object)):
        points = group[["distance", "speedup", "low", "high"]].sort_values(["distance", "speedup"], ignore_index=True)
        best = running_best(1 / points["speedup"].to_numpy(), points["distance"].to_numpy())
        if len(best) > 1:
            row = group.iloc[0]
            points["is_best"] = points.index.isin(best)
            name = without(row["series"], "tolerance")
            found.append(Curve(name, row["executor"], row["steps"], all_but_executor(row), points))
    return sorted(found, key=lambda curve: (curve.steps, curve.series))


def equal_distance(analysis: Analysis) -> Section:
    """Return a line for every two executors of the same steps, network and devices that were run to tolerances."""
    found = []
    for one in analysis.classes:
        for first, second in _pairs(curves(overlapping(one, analysis))):
            found.append((first.series, second.series, f"{first.steps:.0f}", *_compared(first, second)))
    return Section(HEADINGS, found)


def _pairs(found: list[Curve]) -> Iterator[tuple[Curve, Curve]]:
    for first, second in combinations(found, 2):
        if first.task == second.task and first.executor != second.executor:
            yield first, second


def _compared(first: Curve, second: Curve) -> tuple[str, ...]:
    """Return the texts after the names: ranges, and what is read in the middle of the common one and at its ends."""
    ranges = tuple(f"{number(low)} to {number(high)}" for low, high in (first.ends, second.ends))
    low, high = max(first.ends[0], second.ends[0]), min(first.ends[1], second.ends[1])
    if low > high:
        return (*ranges, NO_COMMON, *(DASH,) * 4)
    middle = math.sqrt(low * high)
    one, other = _read(first, middle), _read(second, middle)
    ends = [math.exp(_read(first, at).log_speedup - _read(second, at).log_speedup) for at in (low, high)]
    ratio = _Reading(
        one.log_speedup - other.log_speedup, math.hypot(one.below, other.above), math.hypot(one.above, other.below)
    )
    return (
        *ranges, number(middle), *(_text(reading) for reading in (one, other, ratio)),
        f"{number(ends[0])} at {number(low)}, {number(ends[1])} at {number(high)}",
    )  # fmt: skip


def _read(curve: Curve, distance: float) -> _Reading:
    """Return the log speed-up at a distance inside the curve, and how far the timing lets it lie below and above."""
    points = curve.points
    reading = read_time(1 / points["speedup"].to_numpy(), points["distance"].to_numpy(), distance)
    below, above = read_widths(points[["speedup", "low", "high"]].to_numpy(), reading.weights)
    return _Reading(-reading.log_time, above, below)  # a higher time is a lower speed-up


def _text(reading: _Reading) -> str:
    low, high = (math.exp(reading.log_speedup + side) for side in (-reading.below, reading.above))
    return f"{number(math.exp(reading.log_speedup))} {interval(low, high)}".strip()
