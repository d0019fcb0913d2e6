"""The time at which a method's curve reaches a FID target, with its interval, and the ratio of two such times.

The curve is the running best; log time is linear in log FID; nothing is extrapolated.
One training: the interval holds every time at which the target lies in the FID's 95 % interval (jackknife).
So its ends are read off the curves of upper and of lower ends. An end beyond the curve stays open (NaN).
Several trainings: the time is read within each, then Student's t of the log times.
The timing's interval is joined to either in log space.
A ratio takes differences of log times within a replicate, or within a training, first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from harness.report.analysis.equal_quality import CurveReading, read_log_time, running_best
from harness.report.analysis.method_curve import MethodCurve, common_log_replicates
from harness.report.analysis.replicates import half_width
from harness.stats import LEVEL

REACHED = "reached"
AT_SMALLEST = "reached at its smallest step count"
PARTLY = "reached in some trainings"
NOT_REACHED = "not reached"
NOT_MEASURED = "not measured"

ONE_STEP_COUNT = "one step count: no curve to read"
OPEN_HIGH = "upper end open: within its interval the FID may not reach the target"
OPEN_LOW = "lower end open: its smallest step count may already reach the target"
MAY_REACH = "not reached, but the target lies in the 95 % interval of its FID"
NO_INTERVAL = "no interval: replicates of FID or timing intervals are missing"
THE_SAME = "the reference itself"
BOTH_BOUNDS = "both reach the target at their smallest step count"


@dataclass(frozen=True)
class TargetTime:
    """Where one curve reaches one target; seconds per image, NaN where not reached or not known."""

    state: str
    seconds: float = math.nan
    low: float = math.nan
    high: float = math.nan
    steps: tuple[float, ...] = ()
    """Step counts of the points that were read, one or two."""
    trial_ids: tuple[str, ...] = ()
    """The trials of these points."""
    disturbed: bool = False
    trainings: int = 1
    reached: int = 0
    """Trainings in which the target was reached."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class TimeRatio:
    """The reference's time over the method's at one target; NaN, with a reason, where there is none."""

    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    sign: str = ""
    """">=" or "<=" where one of the two is reached at its smallest step count."""
    note: str = ""


def read_target(curve: MethodCurve, target: float) -> TargetTime:
    """Return the time at which the curve reaches the target."""
    if not len(curve.fid):
        return TargetTime(NOT_MEASURED, notes=("no row with both a FID and a time",))
    found = _read_trainings(curve, target) if curve.trainings else _read_one(curve, target)
    if found.state == REACHED and math.isnan(found.low) and math.isnan(found.high) and not found.notes:
        return _with_note(found, NO_INTERVAL)
    return _with_note(found, ONE_STEP_COUNT) if len(set(curve.steps)) == 1 else found


def _with_note(found: TargetTime, note: str) -> TargetTime:
    return TargetTime(**{**found.__dict__, "notes": (*found.notes, note)})


def _read(curve: MethodCurve, fid: np.ndarray, target: float, shift: np.ndarray | float = 0.0) -> CurveReading | None:
    """Return a reading of the curve with these FIDs [points], NaN where absent; None where it does not reach.

    A curve of one step count is reached at its smallest one or not at all.
    """
    known = np.isfinite(fid)
    if not known.any():
        return None
    time = np.exp(curve.log_seconds + shift)
    found = read_log_time(time[known], fid[known], target)
    if found.side == ">=":
        return None
    weights = np.zeros(len(fid))
    weights[known] = found.weights
    alone = len(running_best(time[known], fid[known])) == 1
    return CurveReading(found.log_time, "<=" if alone else found.side, weights)


def _read_one(curve: MethodCurve, target: float) -> TargetTime:
    """Return the reading of one training, with the interval between the curves of lower and of upper ends."""
    logs = common_log_replicates([curve])
    half = np.array([half_width(row) for row in logs[0]]) if logs else np.full(len(curve.fid), math.nan)

    # not reached
    reading = _read(curve, curve.fid, target)
    if reading is None:
        near = bool(np.nanmin(curve.fid * np.exp(-np.nan_to_num(half))) <= target)
        return TargetTime(NOT_REACHED, notes=(MAY_REACH,) if near else ())

    # ends from the FID
    kept = np.zeros(len(curve.fid), dtype=bool)
    kept[running_best(np.exp(curve.log_seconds), curve.fid)] = True
    fast = _read(curve, np.where(kept, curve.fid * np.exp(-half), math.nan), target)
    slow = _read(curve, np.where(kept, curve.fid * np.exp(half), math.nan), target)

    # with the timing
    at_smallest = reading.side == "<="
    down, up = _timing_sides(reading.weights, curve.sides)
    low = math.nan if fast is None or fast.side == "<=" else reading.log_time - fast.log_time
    high = math.nan if slow is None else slow.log_time - reading.log_time
    notes = () if np.isnan(half).all() else _open_notes(low, high, at_smallest)
    return _reached(curve, [reading], low=math.hypot(low, down), high=math.hypot(high, up), notes=notes)


def _open_notes(low: float, high: float, at_smallest: bool) -> tuple[str, ...]:
    notes = (OPEN_LOW if math.isnan(low) and not at_smallest else "", OPEN_HIGH if math.isnan(high) else "")
    return tuple(note for note in notes if note)


def _read_trainings(curve: MethodCurve, target: float) -> TargetTime:
    """Return the mean log time over the trainings that reach, with Student's t where all do inside their curves."""
    readings = [
        _read(curve, fid, target, shift)
        for fid, shift in zip(curve.fid_by_training, np.nan_to_num(curve.shift_by_training), strict=True)
    ]
    reached = [reading for reading in readings if reading is not None]
    if not reached:
        return TargetTime(NOT_REACHED, trainings=len(readings))

    # Student's t, then the timing
    half = math.nan
    if len(reached) == len(readings) and not any(one.side for one in reached):
        half = student_half_width(np.array([one.log_time for one in reached]))
    down, up = _timing_sides(np.mean([one.weights for one in reached], axis=0), curve.sides)
    low, high = math.hypot(half, down), math.hypot(half, up)

    # no end beyond the curve
    middle = float(np.mean([one.log_time for one in reached]))
    notes: tuple[str, ...] = ()
    if middle - half < curve.log_seconds.min():
        low, notes = math.nan, (*notes, OPEN_LOW)
    if middle + half > curve.log_seconds.max():
        high, notes = math.nan, (*notes, OPEN_HIGH)
    return _reached(curve, reached, low=low, high=high, notes=notes, trainings=len(readings))


def _reached(
    curve: MethodCurve,
    readings: list[CurveReading],
    low: float,
    high: float,
    notes: tuple[str, ...],
    trainings: int = 1,
) -> TargetTime:
    """Return the result of readings that reach; `low` and `high` are log distances to the ends."""
    state = REACHED
    if len(readings) < trainings:
        state = PARTLY
    elif any(one.side for one in readings):
        state = AT_SMALLEST
    middle = float(np.mean([one.log_time for one in readings]))
    used = np.flatnonzero(np.any([one.weights > 0 for one in readings], axis=0))

    return TargetTime(
        state=state,
        seconds=math.exp(middle),
        low=math.nan if state != REACHED else math.exp(middle - low),
        high=math.nan if state == PARTLY else math.exp(middle + high),
        steps=tuple(sorted({float(curve.steps[place]) for place in used})),
        trial_ids=tuple(curve.trial_ids[place] for place in used),
        disturbed=any(curve.disturbed[place] for place in used),
        trainings=trainings,
        reached=len(readings),
        notes=notes,
    )


def read_ratio(method: MethodCurve, reference: MethodCurve, target: float) -> TimeRatio:
    """Return the reference's time over the method's at the target; a value below 1 means that the method is slower."""
    if method.trial_ids == reference.trial_ids:
        return TimeRatio(note=THE_SAME)
    shared = sorted(set(method.trainings) & set(reference.trainings))
    pairs = _pairs_by_training(method, reference, target, shared) if len(shared) > 1 else None
    if pairs is None:
        pairs = [(_read(method, method.fid, target), _read(reference, reference.fid, target))]

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
    half = student_half_width(logs) if len(logs) > 1 else _jackknife_of_ratio(method, reference, target)
    mine = _timing_sides(np.mean([own.weights for own, _ in both], axis=0), method.relative_sides)
    others = _timing_sides(np.mean([other.weights for _, other in both], axis=0), reference.relative_sides)

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
        return _read(curve, curve.fid_by_training[at], target, np.nan_to_num(curve.shift_by_training[at]))

    return [(read(method, training), read(reference, training)) for training in shared]


def _relative_shifts(method: MethodCurve, reference: MethodCurve, shared: list[int]) -> list[tuple[np.ndarray, ...]]:
    """Return the log shifts of both curves' times per shared training; zeros where there is one training."""
    if not shared:
        return [(np.zeros(len(method.fid)), np.zeros(len(reference.fid)))]
    return [
        tuple(np.nan_to_num(one.shift_by_training[one.trainings.index(k)]) for one in (method, reference))
        for k in shared
    ]


def _jackknife_of_ratio(method: MethodCurve, reference: MethodCurve, target: float) -> float:
    """Return half the 95 % interval of the log ratio from the FIDs: replicate k leaves out group k on both sides."""
    found = common_log_replicates([method, reference])
    if found is None:
        return math.nan

    logs = []
    for group in range(found[0].shape[1]):
        own, other = (
            read_log_time(np.exp(curve.log_seconds), np.exp(fids[:, group]), target).weights @ curve.log_relative
            for curve, fids in zip((method, reference), found, strict=True)
        )
        logs.append(other - own)
    return half_width(np.array(logs))


def student_half_width(values: np.ndarray) -> float:
    """Return half the 95 % interval of the mean of independent values, Student's t of n - 1 degrees of freedom."""
    from scipy.special import stdtrit

    n = len(values)
    return float(stdtrit(n - 1, 0.5 + LEVEL / 2) * values.std(ddof=1) / math.sqrt(n)) if n > 1 else math.nan


def _timing_sides(weights: np.ndarray, sides: np.ndarray) -> tuple[float, float]:
    """Return how far a log time that was read with these weights [points] may lie below and above."""
    used = weights > 0
    below, above = (math.hypot(*(weights[used] * sides[used, place])) for place in (0, 1))
    return below, above
