"""Time to quality: for every method on a network and every FID target, the time on the method's own curve.

Targets are absolute and the same for all rows. Serial executors rank by throughput, parallel ones by latency.
Only values have a rank. A method that is reached at its smallest step count stands among them by its measured time.
One that reaches a target in some trainings only comes after these, one that does not reach it comes last.
A value that was read from a disturbed row has a rank only where its interval overlaps no other.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace

import numpy as np
from pandas import DataFrame

from harness.report.analysis.alike import find_alike
from harness.report.analysis.derive import Analysis, ResourceClass
from harness.report.analysis.limits import NetworkLimit, network_limits, rows_below_limit
from harness.report.analysis.method_curve import LATENCY, MEASURES, THROUGHPUT, MethodCurve, TimeMeasure, build_curve
from harness.report.analysis.method_lines import MethodLine, comparable_rows, split_into_lines
from harness.report.analysis.target_time import (
    AT_SMALLEST,
    NOT_MEASURED,
    NOT_REACHED,
    PARTLY,
    REACHED,
    TargetTime,
    TimeRatio,
    read_ratio,
    read_target,
)

NO_BASELINE = "the suite's baseline has no VALID row"
NO_COSTLESS = "no costless schedule reaches the target"
_PLACE = {REACHED: 0, AT_SMALLEST: 0, PARTLY: 1, NOT_REACHED: 2, NOT_MEASURED: 3}


@dataclass(frozen=True)
class MeasuredTime:
    """A method's time to a target by one measure, and its ratios to the two references."""

    measure: TimeMeasure
    time: TargetTime
    over_costless: TimeRatio
    """Time of the best schedule that costs nothing, under the baseline's solver, over the method's."""
    costless: str
    """The name of that line; empty where none reaches the target."""
    over_baseline: TimeRatio
    """Time of the suite's baseline over the method's."""


@dataclass(frozen=True)
class QualityTime:
    """What is known of one method on a network at one target."""

    line: MethodLine
    target: float
    by_measure: dict[str, MeasuredTime]
    rank: int | None
    best_fid: float
    """The lowest FID of its rows; NaN where none has one."""
    below_limit: bool
    """Whether a point that was read is significantly below the network's own limit."""

    @property
    def ranked(self) -> MeasuredTime:
        """Return the time by which the line ranks: latency of a parallel executor, else throughput."""
        return self.by_measure[(LATENCY if self.line.parallel else THROUGHPUT).name]


@dataclass(frozen=True)
class ClassQuality:
    """A class as lines with their limits and, where the suite names targets, times to quality."""

    serial: tuple[MethodLine, ...]
    parallel: tuple[MethodLine, ...]
    """Lines in the order of the main table."""
    limits: dict[str, NetworkLimit]
    below_limit: frozenset[str]
    """Ids of the trials that are significantly below their network's limit."""
    targets: tuple[float, ...]
    """Loosest first; empty where the suite names none."""
    times: dict[tuple[str, float], QualityTime]
    """By the line's name and the target."""
    baseline: str
    """The name of the plain baseline's line; empty where there is none."""


@dataclass(frozen=True)
class _References:
    """The curves that ratios are taken to, by measure name."""

    baseline: dict[str, MethodCurve]
    costless: dict[str, tuple[MethodCurve, str]]


def read_class(one: ResourceClass, analysis: Analysis) -> ClassQuality:
    """Return the lines of a class, in the order of the main table, with limits and times to quality."""
    comparable = comparable_rows(one, analysis)
    members = getattr(analysis, "members", None)
    replicates = analysis.replicates["fid"]

    # lines, limits, targets
    lines = split_into_lines(one.rows)
    limits = network_limits(comparable)
    below = frozenset(rows_below_limit(one.rows, limits))
    targets = read_targets(one.rows)
    baseline, costless = reference_lines(comparable)

    # times, ranked among serial and among parallel lines
    times: dict[tuple[str, float], QualityTime] = {}
    for target in targets:
        references = _references(baseline, costless, target, replicates, members)
        for group in (False, True):
            found = [
                _read_line(line, target, references, replicates, members, below)
                for line in lines
                if line.parallel is group
            ]
            times |= {(time.line.name, target): time for time in rank_times(found)}

    ordered = sorted(lines, key=lambda line: _order_of_line(line, targets, times))
    return ClassQuality(
        serial=tuple(line for line in ordered if not line.parallel),
        parallel=tuple(line for line in ordered if line.parallel),
        limits=limits,
        below_limit=below,
        targets=targets,
        times=times,
        baseline=baseline.name if baseline else "",
    )


def read_targets(rows: DataFrame) -> tuple[float, ...]:
    """Return the targets that the rows' suites name, loosest first; empty where there is none."""
    texts = {text for text in rows["fid_targets"] if text}
    return tuple(sorted({float(target) for text in texts for target in json.loads(text)}, reverse=True))


def reference_lines(comparable: DataFrame) -> tuple[MethodLine | None, list[MethodLine]]:
    """Return the line of the suite's baseline, and the lines of schedules that cost nothing.

    The latter differ from the baseline in the schedule alone, which was neither searched nor tuned.
    The baseline is one of them. Of several baselines, that with most points counts.
    """
    # the baseline
    lines = split_into_lines(comparable)
    found = sorted((line for line in lines if line.rows["is_baseline"].any()), key=lambda line: -len(line.rows))
    if not found:
        return None, []
    baseline = found[0]
    first = baseline.rows.iloc[0]

    # the same but for the schedule, at no price
    price = first["prepare_seconds"] * (1 + 1e-9)
    costless = [
        line
        for line in lines
        if find_alike(line.rows, first, ("denoiser", "solver", "executor"), ("devices",)).all()
        and not any("schedule" in parts.split() for parts in line.rows["prepared"])
        and not (line.rows["prepare_seconds"] > price).any()
    ]
    return baseline, costless


def _references(
    baseline: MethodLine | None,
    costless: list[MethodLine],
    target: float,
    replicates: DataFrame,
    members: DataFrame | None,
) -> _References:
    """Return the curves of the baseline and, by each measure, of the costless schedule that is fastest."""
    best = {}
    for measure in MEASURES:
        curves = [(build_curve(line.rows, measure, members), line.name) for line in costless]
        found = [(read_target(curve, target, replicates), curve, name) for curve, name in curves]
        reached = [(time.seconds, name, curve) for time, curve, name in found if time.state in (REACHED, AT_SMALLEST)]
        if reached:
            _, name, curve = min(reached, key=lambda one: one[:2])
            best[measure.name] = (curve, name)
    plain = {m.name: build_curve(baseline.rows, m, members) for m in MEASURES} if baseline else {}
    return _References(plain, best)


def _read_line(
    line: MethodLine,
    target: float,
    references: _References,
    replicates: DataFrame,
    members: DataFrame | None,
    below: frozenset[str],
) -> QualityTime:
    measured = {}
    for measure in MEASURES:
        curve = build_curve(line.rows, measure, members)
        costless, name = references.costless.get(measure.name, (None, ""))
        baseline = references.baseline.get(measure.name)
        measured[measure.name] = MeasuredTime(
            measure=measure,
            time=read_target(curve, target, replicates),
            over_costless=read_ratio(curve, costless, target, replicates) if costless else TimeRatio(note=NO_COSTLESS),
            costless=name,
            over_baseline=read_ratio(curve, baseline, target, replicates) if baseline else TimeRatio(note=NO_BASELINE),
        )

    used = {trial_id for one in measured.values() for trial_id in one.time.trial_ids}
    return QualityTime(line, target, measured, None, float(np.fmin.reduce(line.rows["fid"])), bool(used & below))


def rank_times(times: list[QualityTime]) -> list[QualityTime]:
    """Return the times of one target in order, numbered where they are values that may have a rank."""
    ordered = sorted(times, key=_order_of_time)
    values = [one for one in ordered if one.ranked.time.state == REACHED]
    numbered, number = [], 0
    for one in ordered:
        others = [other for other in values if other is not one]
        if one in values and not (one.ranked.time.disturbed and any(_overlap(one, other) for other in others)):
            number += 1
            numbered.append(replace(one, rank=number))
        else:
            numbered.append(one)
    return numbered


def _overlap(one: QualityTime, other: QualityTime) -> bool:
    """Return whether the intervals overlap; an open end reaches everywhere."""
    lows = [0.0 if math.isnan(t.ranked.time.low) else t.ranked.time.low for t in (one, other)]
    highs = [math.inf if math.isnan(t.ranked.time.high) else t.ranked.time.high for t in (one, other)]
    return max(lows) <= min(highs)


def _order_of_time(one: QualityTime) -> tuple[int, float, float, str]:
    """Return what sorts the times of one target: kind of result, time, best FID."""
    time = one.ranked.time
    best = math.inf if math.isnan(one.best_fid) else one.best_fid
    return _PLACE[time.state], math.inf if math.isnan(time.seconds) else time.seconds, best, one.line.name


def _order_of_line(
    line: MethodLine, targets: tuple[float, ...], times: dict[tuple[str, float], QualityTime]
) -> tuple[int, float, float, str]:
    """Return what sorts the main table: the tightest target that is reached, the time to it, the best FID."""
    for place, target in enumerate(reversed(targets)):
        kind, seconds, best, name = _order_of_time(times[line.name, target])
        if kind == 0:
            return place, seconds, best, name
    best = float(np.fmin.reduce(line.rows["fid"]))
    return len(targets), 0.0, math.inf if math.isnan(best) else best, line.name
