"""The time at which a method's curve reaches a FID target, with its interval.

The curve is the running best; log time is linear in log FID; nothing is extrapolated.
One training: the interval holds every time at which the target lies in the FID's 95 % interval (jackknife).
So its ends are read off the curves of upper and of lower ends. An end beyond the curve stays open (NaN).
Several trainings: the time is read within each, then Student's t of the log times.
Noise of images that the trainings share is added (harness.report.analysis.inference).
The timing's interval is joined to either in log space.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from harness.report.analysis.equal_quality import CurveReading, read_log_time, running_best
from harness.report.analysis.inference import parts_half_width, training_parts
from harness.report.analysis.method_curve import MethodCurve
from harness.report.analysis.replicates import half_width

REACHED = "reached"
AT_SMALLEST = "reached at its smallest step count"
PARTLY = "reached in some trainings"
NOT_REACHED = "not reached"
NOT_MEASURED = "not measured"

ONE_STEP_COUNT = "one step count"
OPEN_HIGH = "upper end open: within its interval the FID may not reach the target"
OPEN_LOW = "lower end open: its smallest step count may already reach the target"
MAY_REACH = "not reached, but the target lies in the 95 % interval of its FID"
FEWER_TRAININGS = "over trainings with all points of the line: {}; left out: {}"
NO_INTERVAL = "no interval: replicates of FID or timing intervals are missing"


@dataclass(frozen=True)
class TargetTime:
    """Where one curve reaches one target; seconds per image, NaN where not reached by all trainings or not known."""

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


def read_target(curve: MethodCurve, target: float) -> TargetTime:
    """Return the time at which the curve reaches the target."""
    if not len(curve.fid):
        return TargetTime(NOT_MEASURED, notes=("no row with both a FID and a time",))
    found = _read_trainings(curve, target) if curve.trainings else _read_one(curve, target)
    if found.state == REACHED and math.isnan(found.low) and math.isnan(found.high) and not found.notes:
        found = _with_note(found, NO_INTERVAL)
    elif len(set(curve.steps)) == 1:
        where = f"see {curve.more_steps_in}" if curve.more_steps_in else "no curve"
        found = _with_note(found, f"{ONE_STEP_COUNT}: {where}")

    fewer = FEWER_TRAININGS.format(len(curve.trainings) or 1, curve.left_out)
    return _with_note(found, fewer) if curve.left_out else found


def _with_note(found: TargetTime, note: str) -> TargetTime:
    return TargetTime(**{**found.__dict__, "notes": (*found.notes, note)})


def read_curve(
    curve: MethodCurve, fid: np.ndarray, target: float, shift: np.ndarray | float = 0.0
) -> CurveReading | None:
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
    known = np.isfinite(curve.log_replicates).all(axis=0)
    half = np.array([half_width(row) for row in curve.log_replicates[:, known]])

    # not reached
    reading = read_curve(curve, curve.fid, target)
    if reading is None:
        near = bool(np.nanmin(curve.fid * np.exp(-np.nan_to_num(half))) <= target)
        return TargetTime(NOT_REACHED, notes=(MAY_REACH,) if near else ())

    # ends from the FID
    kept = np.zeros(len(curve.fid), dtype=bool)
    kept[running_best(np.exp(curve.log_seconds), curve.fid)] = True
    fast = read_curve(curve, np.where(kept, curve.fid * np.exp(-half), math.nan), target)
    slow = read_curve(curve, np.where(kept, curve.fid * np.exp(half), math.nan), target)

    # with the timing
    at_smallest = reading.side == "<="
    down, up = timing_sides(reading.weights, curve.sides)
    low = math.nan if fast is None or fast.side == "<=" else reading.log_time - fast.log_time
    high = math.nan if slow is None else slow.log_time - reading.log_time
    notes = () if np.isnan(half).all() else _open_notes(low, high, at_smallest)
    return _reached(curve, [reading], low=math.hypot(low, down), high=math.hypot(high, up), notes=notes)


def _open_notes(low: float, high: float, at_smallest: bool) -> tuple[str, ...]:
    notes = (OPEN_LOW if math.isnan(low) and not at_smallest else "", OPEN_HIGH if math.isnan(high) else "")
    return tuple(note for note in notes if note)


def _read_trainings(curve: MethodCurve, target: float) -> TargetTime:
    """Return the mean log time over the trainings, with Student's t where all reach inside their curves.

    Where some do not reach there is no time: a mean over the others may be sooner than that to a looser target.
    """
    readings = [
        read_curve(curve, fid, target, shift)
        for fid, shift in zip(curve.fid_by_training, np.nan_to_num(curve.shift_by_training), strict=True)
    ]
    reached = [reading for reading in readings if reading is not None]
    if len(reached) < len(readings):
        return TargetTime(PARTLY if reached else NOT_REACHED, trainings=len(readings), reached=len(reached))

    # Student's t, then the timing
    half = math.nan
    at_smallest = any(one.side for one in reached)
    if not at_smallest:
        logs = np.array([one.log_time for one in reached])
        left_out = [left_out_times(curve, target, training) for training in range(len(readings))]
        half = parts_half_width(training_parts(logs, stack_trainings(left_out)))
    down, up = timing_sides(np.mean([one.weights for one in reached], axis=0), curve.sides)
    low, high = math.hypot(half, down), math.hypot(half, up)

    # no end beyond the curve
    middle = float(np.mean([one.log_time for one in reached]))
    notes: tuple[str, ...] = ()
    if middle - half < curve.log_seconds.min():
        low, notes = math.nan, (*notes, OPEN_LOW)
    if middle + half > curve.log_seconds.max():
        high, notes = math.nan, (*notes, OPEN_HIGH)

    # a bound: the first point of which the whole interval of the FID reaches the target
    if at_smallest:
        certain = curve.log_seconds[curve.fid_high <= target]
        high = math.hypot(max(float(certain.min()) - middle, 0.0), up) if len(certain) else math.nan
        notes = notes if len(certain) else (*notes, OPEN_HIGH)
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
    state = AT_SMALLEST if any(one.side for one in readings) else REACHED
    middle = float(np.mean([one.log_time for one in readings]))
    used = np.flatnonzero(np.any([one.weights > 0 for one in readings], axis=0))

    return TargetTime(
        state=state,
        seconds=math.exp(middle),
        low=math.nan if state != REACHED else math.exp(middle - low),
        high=math.exp(middle + high),
        steps=tuple(sorted({float(curve.steps[place]) for place in used})),
        trial_ids=tuple(curve.trial_ids[place] for place in used),
        disturbed=any(curve.disturbed[place] for place in used),
        trainings=trainings,
        reached=len(readings),
        notes=notes,
    )


def left_out_times(
    curve: MethodCurve, target: float, training: int | None, known: np.ndarray | None = None, relative: bool = False
) -> np.ndarray | None:
    """Return the log time to the target without each group of images [groups]; None below two groups.

    `training` is a place in the curve's trainings, None for the row itself. `known` are the groups that count.
    """
    logs = curve.log_replicates if training is None else curve.log_replicates_by_training[training]
    shift = 0.0 if training is None else np.nan_to_num(curve.shift_by_training[training])
    points = np.isfinite(logs).any(axis=1)
    known = np.isfinite(logs[points]).all(axis=0) if known is None else known
    if not points.any() or known.sum() < 2:
        return None

    time = np.exp(curve.log_seconds + shift)[points]
    printed = (curve.log_relative if relative else curve.log_seconds) + shift
    fids = np.exp(logs[points][:, known])
    return np.array([read_log_time(time, fid, target).weights @ printed[points] for fid in fids.T])


def stack_trainings(left_out: list[np.ndarray | None]) -> np.ndarray | None:
    """Return the replicates of all trainings [trainings, groups]; None where they are not of the same groups."""
    known = [one for one in left_out if one is not None]
    same = len(known) == len(left_out) and len({len(one) for one in known}) == 1
    return np.array(known) if same else None


def timing_sides(weights: np.ndarray, sides: np.ndarray) -> tuple[float, float]:
    """Return how far a log time that was read with these weights [points] may lie below and above."""
    used = weights > 0
    below, above = (math.hypot(*(weights[used] * sides[used, place])) for place in (0, 1))
    return below, above
