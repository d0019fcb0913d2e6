"""Time to quality: for every method on a network and every FID target, the time on the method's own curve.

Targets are absolute and the same for all rows. Serial executors rank by throughput, parallel ones by latency.
Only values have a rank, counted among values alone.
A method that reaches a target at its smallest step count stands among them by that time.
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
from harness.report.analysis.limits import LimitFid, LongestRow, longest_rows, network_limits, rows_below_limit
from harness.report.analysis.method_curve import LATENCY, MEASURES, THROUGHPUT, MethodCurve, TimeMeasure, build_curve
from harness.report.analysis.method_lines import MethodLine, comparable_rows, split_into_lines
from harness.report.analysis.target_ratio import TimeRatio, read_ratio
from harness.report.analysis.target_time import (
    AT_SMALLEST,
    NOT_MEASURED,
    NOT_REACHED,
    PARTLY,
    REACHED,
    TargetTime,
    read_target,
)
from harness.report.analysis.time_ties import is_time_tie, overlap_in_time

NO_BASELINE = "no row of the suite's baseline ranks here"
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
    """Number among the values of its table; None for a bound, and for what does not reach."""
    best_fid: float
    """The lowest FID of its rows; NaN where none has one."""
    below_limit: bool
    """Whether a point that was read is significantly below the network's own limit."""
    ties_with_first: bool = False
    """Whether its time cannot be set apart from that of the first in order, a bound or a value."""
    ties_with_rank_1: bool = False
    """The same of the line with rank 1."""

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
    limits: dict[str, LimitFid]
    longest: dict[str, LongestRow]
    """Of networks without a limit, by network."""
    below_limit: frozenset[str]
    """Ids of the trials that are significantly below their network's limit."""
    targets: tuple[float, ...]
    """Loosest first; empty where the suite names none."""
    times: dict[tuple[str, float], QualityTime]
    """By the line's name and the target."""
    baseline: str
    """The name of the plain baseline's line; empty where there is none."""
    no_baseline: str
    """Why there is none, where there is none, to follow "the baseline"."""


Curves = dict[str, MethodCurve]
"""A line's curves by the name of the measure."""


def read_class(one: ResourceClass, analysis: Analysis) -> ClassQuality:
    """Return the lines of a class, in the order of the main table, with limits and times to quality."""
    comparable = comparable_rows(one, analysis)

    # lines, limits, targets
    lines = split_into_lines(one.rows)
    limits = network_limits(comparable)
    below = frozenset(rows_below_limit(one.rows, limits))
    targets = read_targets(one.rows)
    baseline, costless = reference_lines(comparable)

    # curves
    def build(line: MethodLine) -> Curves:
        left_out = (analysis.replicates["fid"], analysis.members, analysis.member_replicates["fid"])
        return {measure.name: build_curve(line.rows, measure, *left_out) for measure in MEASURES}

    curves = {line.name: build(line) for line in lines} if targets else {}
    plain = build(baseline) if baseline and targets else {}
    free = {line.name: build(line) for line in costless} if targets else {}

    # times, ranked among serial and among parallel lines
    times: dict[tuple[str, float], QualityTime] = {}
    for target in targets:
        best = {measure.name: _best_costless(free, measure, target) for measure in MEASURES}
        found = [_read_line(line, curves[line.name], target, plain, best, below) for line in lines]
        for group in (False, True):
            ranked = rank_times([time for time in found if time.line.parallel is group])
            times |= {(time.line.name, target): time for time in mark_ties(ranked, curves)}

    ordered = sorted(lines, key=lambda line: _order_of_line(line, targets, times))
    return ClassQuality(
        serial=tuple(line for line in ordered if not line.parallel),
        parallel=tuple(line for line in ordered if line.parallel),
        limits=limits,
        longest=longest_rows(comparable),
        below_limit=below,
        targets=targets,
        times=times,
        baseline=baseline.name if baseline else "",
        no_baseline=one.no_baseline,
    )


def read_targets(rows: DataFrame) -> tuple[float, ...]:
    """Return the targets that the rows' suites name, loosest first; empty where there is none."""
    texts = {text for text in rows["fid_targets"] if text}
    return tuple(sorted({target for text in texts for target in _parse_targets(text)}, reverse=True))


def _parse_targets(text: str) -> list[float]:
    """Return the FIDs of a JSON list of positive numbers; none where the text is something else."""
    try:
        found = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return []
    values = found if isinstance(found, list) else []
    if not all(isinstance(one, int | float) and not isinstance(one, bool) for one in values):
        return []
    return [float(one) for one in values] if all(0 < one < math.inf for one in values) else []


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
    price = baseline.rows["prepare_seconds"].max() * (1 + 1e-9)
    costless = [
        line
        for line in lines
        if find_alike(line.rows, first, ("denoiser", "solver", "executor"), ("devices",)).all()
        and not any("schedule" in parts.split() for parts in line.rows["prepared"])
        and not (line.rows["prepare_seconds"] > price).any()
    ]
    return baseline, costless


def _best_costless(free: dict[str, Curves], measure: TimeMeasure, target: float) -> tuple[MethodCurve | None, str]:
    """Return the curve and the name of the line that reaches the target first; None where none does."""
    found = [(read_target(curves[measure.name], target), name) for name, curves in free.items()]
    reached = [(time.seconds, name) for time, name in found if time.state in (REACHED, AT_SMALLEST)]
    if not reached:
        return None, ""
    _, name = min(reached)
    return free[name][measure.name], name


def _read_line(
    line: MethodLine,
    curves: Curves,
    target: float,
    plain: Curves,
    best: dict[str, tuple[MethodCurve | None, str]],
    below: frozenset[str],
) -> QualityTime:
    measured = {}
    for measure in MEASURES:
        curve, baseline = curves[measure.name], plain.get(measure.name)
        costless, name = best[measure.name]
        measured[measure.name] = MeasuredTime(
            measure=measure,
            time=read_target(curve, target),
            over_costless=read_ratio(curve, costless, target) if costless else TimeRatio(note=NO_COSTLESS),
            costless=name,
            over_baseline=read_ratio(curve, baseline, target) if baseline else TimeRatio(note=NO_BASELINE),
        )

    used = {trial_id for one in measured.values() for trial_id in one.time.trial_ids}
    return QualityTime(line, target, measured, None, float(np.fmin.reduce(line.rows["fid"])), bool(used & below))


def rank_times(times: list[QualityTime]) -> list[QualityTime]:
    """Return the times of one target in order; values that may have a rank are numbered 1, 2, 3.

    A bound, or a disturbed value that may be equal to another, stands in the order without a number.
    """
    ordered = sorted(times, key=rank_order)
    values = [one for one in ordered if one.ranked.time.state == REACHED]
    rank, numbered = 0, []
    for one in ordered:
        time = one.ranked.time
        undecided = time.disturbed and any(
            overlap_in_time(time, other.ranked.time) for other in values if other is not one
        )
        has_rank = time.state == REACHED and not undecided
        rank += has_rank
        numbered.append(replace(one, rank=rank if has_rank else None))
    return numbered


def mark_ties(ordered: list[QualityTime], curves: dict[str, Curves]) -> list[QualityTime]:
    """Return the times of `rank_times`, each with whether it ties with the first in order and with rank 1.

    `curves` are the lines' by name.
    """

    def ties(one: QualityTime, leader: QualityTime | None) -> bool:
        if leader is None or one.line.name == leader.line.name:
            return False
        own, other = (curves[each.line.name][each.ranked.measure.name] for each in (one, leader))
        return is_time_tie(one.ranked.time, leader.ranked.time, read_ratio(own, other, one.target))

    # leaders
    top = next((one for one in ordered if one.rank == 1), None)
    first = ordered[0] if ordered else None
    return [replace(one, ties_with_first=ties(one, first), ties_with_rank_1=ties(one, top)) for one in ordered]


def rank_order(one: QualityTime) -> tuple[int, float, float, str]:
    """Return what sorts the times of one target: kind of result, time, best FID."""
    time = one.ranked.time
    best = math.inf if math.isnan(one.best_fid) else one.best_fid
    return _PLACE[time.state], math.inf if math.isnan(time.seconds) else time.seconds, best, one.line.name


def _order_of_line(
    line: MethodLine, targets: tuple[float, ...], times: dict[tuple[str, float], QualityTime]
) -> tuple[int, float, float, str]:
    """Return what sorts the main table: the tightest target that is reached, the time to it, the best FID."""
    for place, target in enumerate(reversed(targets)):
        kind, seconds, best, name = rank_order(times[line.name, target])
        if kind == 0:
            return place, seconds, best, name
    best = float(np.fmin.reduce(line.rows["fid"]))
    return len(targets), 0.0, math.inf if math.isnan(best) else best, line.name
