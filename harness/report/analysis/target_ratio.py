"""The ratio of the times in which two methods reach one FID target.

Differences of log times are taken first: within a training, of the same weights and noise, or within a replicate.
A ratio to something that does not reach the target is empty, with the reason.
Where one of the two is reached at its smallest step count, the ratio is a bound.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from harness.report.analysis.equal_quality import CurveReading
from harness.report.analysis.inference import jackknife_parts, parts_half_width, training_parts
from harness.report.analysis.method_curve import MethodCurve
from harness.report.analysis.target_time import left_out_times, read_curve, stack_trainings, timing_sides

THE_SAME = "the reference itself"
BOTH_BOUNDS = "both reach the target at their smallest step count"


@dataclass(frozen=True)
class TimeRatio:
    """The reference's time over the method's at one target; NaN, with a reason, where there is none."""

    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    sign: str = ""
    """">=" or "<=" where one of the two is reached at its smallest step count."""
    note: str = ""


def read_ratio(method: MethodCurve, reference: MethodCurve, target: float) -> TimeRatio:
    """Return the reference's time over the method's at the target; a value below 1 means that the method is slower."""
    if method.trial_ids == reference.trial_ids:
        return TimeRatio(note=THE_SAME)
    shared = sorted(set(method.trainings) & set(reference.trainings))
    pairs = _pairs_by_training(method, reference, target, shared) if len(shared) > 1 else None
    if pairs is None:
        pairs = [(read_curve(method, method.fid, target), read_curve(reference, reference.fid, target))]

    # what does not reach
    for place, whose in ((0, "the method"), (1, "the reference")):
        if any(pair[place] is None for pair in pairs):
            everywhere = " in every training" if len(pairs) > 1 else ""
            return TimeRatio(note=f"{whose} does not reach the target{everywhere}")
    both = [(own, other) for own, other in pairs if own is not None and other is not None]
    bounds = tuple(any(pair[place].side for pair in both) for place in (0, 1))
    if all(bounds):
        return TimeRatio(note=BOTH_BOUNDS)

    # value, interval from FID, interval from timing
    shifts = _relative_shifts(method, reference, shared if len(pairs) > 1 else [])
    logs = np.array([
        other.weights @ (reference.log_relative + shift[1]) - own.weights @ (method.log_relative + shift[0])
        for (own, other), shift in zip(both, shifts, strict=True)
    ])  # fmt: skip
    value = float(logs.mean())
    left_out = [_left_out_ratios(method, reference, target, k) for k in (shared if len(logs) > 1 else [None])]
    parts = training_parts(logs, stack_trainings(left_out)) if len(logs) > 1 else jackknife_parts(left_out[0])
    half = parts_half_width(parts)
    mine = timing_sides(np.mean([own.weights for own, _ in both], axis=0), method.relative_sides)
    others = timing_sides(np.mean([other.weights for _, other in both], axis=0), reference.relative_sides)

    low = math.exp(value - math.hypot(half, mine[1], others[0]))
    high = math.exp(value + math.hypot(half, mine[0], others[1]))
    if any(bounds):
        sign = ">=" if bounds[0] else "<="
        return TimeRatio(math.exp(value), *((low, math.nan) if bounds[0] else (math.nan, high)), sign)
    return TimeRatio(math.exp(value), low, high)


def _pairs_by_training(
    method: MethodCurve, reference: MethodCurve, target: float, shared: list[int]
) -> list[tuple[CurveReading | None, CurveReading | None]]:
    def read(curve: MethodCurve, training: int) -> CurveReading | None:
        at = curve.trainings.index(training)
        return read_curve(curve, curve.fid_by_training[at], target, np.nan_to_num(curve.shift_by_training[at]))

    return [(read(method, training), read(reference, training)) for training in shared]


def _relative_shifts(method: MethodCurve, reference: MethodCurve, shared: list[int]) -> list[tuple[np.ndarray, ...]]:
    """Return the log shifts of both curves' times per shared training; zeros where there is one training."""
    if not shared:
        return [(np.zeros(len(method.fid)), np.zeros(len(reference.fid)))]
    return [
        tuple(np.nan_to_num(one.shift_by_training[one.trainings.index(k)]) for one in (method, reference))
        for k in shared
    ]


def _left_out_ratios(
    method: MethodCurve, reference: MethodCurve, target: float, training: int | None
) -> np.ndarray | None:
    """Return the log ratio without each group [groups]: one group is left out on both sides; None below two."""
    places = [None if training is None else curve.trainings.index(training) for curve in (method, reference)]
    both = list(zip((method, reference), places, strict=True))
    logs = [curve.log_replicates if at is None else curve.log_replicates_by_training[at] for curve, at in both]
    if any(one.shape[1] != logs[0].shape[1] for one in logs):
        return None
    known = np.logical_and.reduce([np.isfinite(one[np.isfinite(one).any(axis=1)]).all(axis=0) for one in logs])
    times = [left_out_times(curve, target, at, known, relative=True) for curve, at in both]
    return None if times[0] is None or times[1] is None else times[1] - times[0]
