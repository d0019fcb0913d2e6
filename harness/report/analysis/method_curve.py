"""A method's curve of FID against time, by one measure of time: its points, per training and with replicates."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from pandas import DataFrame


@dataclass(frozen=True)
class TimeMeasure:
    """A way to measure time, and the columns that hold it (harness.report.analysis.times)."""

    name: str
    pooled: str
    """Seconds per image that may be compared across timing blocks, and printed."""
    relative: str
    """The same over the clock's, for ratios of two methods."""
    paired: tuple[tuple[str, float], ...]
    """Columns of one trial's own timing that differ between trainings, each with the power of it that is a time."""


THROUGHPUT = TimeMeasure("throughput", "pooled_seconds_per_image", "relative_time", (("speedup", -1.0),))
LATENCY = TimeMeasure(
    "latency", "pooled_latency_seconds", "relative_latency", (("latency_ratio", 1.0), ("latency_seconds", 1.0))
)
MEASURES = (THROUGHPUT, LATENCY)


@dataclass(frozen=True)
class MethodCurve:
    """Points [points] of one method with a FID and a time; logs are natural, times are seconds per image."""

    trial_ids: tuple[str, ...]
    steps: np.ndarray
    fid: np.ndarray
    fid_high: np.ndarray
    """Upper end of the FID's 95 % interval, over trainings where there are several."""
    log_seconds: np.ndarray
    """Log of the time that is printed."""
    log_relative: np.ndarray
    """Log of the time over the clock's, for ratios of two methods."""
    sides: np.ndarray
    """How far the log of the printed time may lie below and above [points, 2]; NaN where it has no interval."""
    relative_sides: np.ndarray
    log_replicates: np.ndarray
    """Log of the FID without each jackknife group [points, groups]; NaN where not known."""
    disturbed: tuple[bool, ...]
    trainings: tuple[int, ...]
    """The trainings that were measured, where there are two or more; else empty."""
    fid_by_training: np.ndarray
    """[trainings, points]; NaN where a training lacks the point."""
    log_replicates_by_training: np.ndarray
    """`log_replicates` of each training [trainings, points, groups]."""
    shift_by_training: np.ndarray
    """Log of a training's time over the row's [trainings, points]; 0 where work does not depend on the weights."""
    more_steps_in: str = ""
    """A suite that has the method at more step counts."""
    left_out: int = 0
    """Trainings that lack points of the first one, so that the curve is not read in them."""


def build_curve(
    rows: DataFrame,
    measure: TimeMeasure,
    replicates: DataFrame,
    members: DataFrame | None = None,
    member_replicates: DataFrame | None = None,
) -> MethodCurve:
    """Return the curve of a line's rows; those without FID or time are left out.

    `replicates` hold FIDs without each group of images, a row per trial_id.
    `members` are rows per training with `row_id`, the trial_id of the row that they are averaged into.
    `member_replicates` are those of the members.
    """
    needed = rows[["fid", measure.pooled, measure.relative]].to_numpy(np.float64)
    rows = rows[((needed > 0) & np.isfinite(needed)).all(axis=1)]

    # by training
    trainings, fid, shift, ids = _split_by_training(rows, measure, members)
    of_members = DataFrame() if member_replicates is None else member_replicates
    by_training = [_logs(of_members.reindex(one).to_numpy(np.float64)) for one in ids]
    curve = MethodCurve(
        trial_ids=tuple(rows["trial_id"]),
        steps=rows["steps"].to_numpy(np.float64),
        fid=rows["fid"].to_numpy(np.float64),
        fid_high=rows["fid_high"].to_numpy(np.float64),
        log_seconds=np.log(rows[measure.pooled].to_numpy(np.float64)),
        log_relative=np.log(rows[measure.relative].to_numpy(np.float64)),
        sides=_log_sides(rows, measure.pooled),
        relative_sides=_log_sides(rows, measure.relative),
        log_replicates=_logs(replicates.reindex(rows["trial_id"]).to_numpy(np.float64)),
        disturbed=tuple(bool(one) for one in rows["disturbed"]),
        # per training
        trainings=trainings,
        fid_by_training=fid,
        log_replicates_by_training=np.array(by_training).reshape(len(trainings), len(rows), -1 if trainings else 0),
        shift_by_training=shift,
        more_steps_in=next((name for name in rows["more_steps_in"] if name), ""),
    )
    return keep_whole_trainings(curve)


def keep_whole_trainings(curve: MethodCurve) -> MethodCurve:
    """Return the curve at the points of its first training, with the trainings that have all of them.

    A training that was not run at some step count is no training that misses a target.
    Where the first one is alone, the curve is its own: its FIDs, replicates and times.
    """
    if not curve.trainings:
        return curve
    points = np.isfinite(curve.fid_by_training[0])
    whole = np.isfinite(curve.fid_by_training[:, points]).all(axis=1)
    if points.all() and whole.all():
        return curve

    # the points, in the trainings that have them
    cut = replace(
        curve,
        trial_ids=tuple(np.array(curve.trial_ids, dtype=object)[points]),
        disturbed=tuple(bool(one) for one in np.array(curve.disturbed)[points]),
        trainings=tuple(int(one) for one in np.array(curve.trainings)[whole]),
        left_out=int((~whole).sum()),
        # [points] and [trainings, points]
        **{name: getattr(curve, name)[points] for name in _BY_POINT},
        **{name: getattr(curve, name)[whole][:, points] for name in _BY_TRAINING},
    )
    return cut if whole.sum() > 1 else _in_first_training(cut)


_BY_POINT = (
    "steps", "fid", "fid_high", "log_seconds", "log_relative", "sides", "relative_sides", "log_replicates",
)  # fmt: skip
_BY_TRAINING = ("fid_by_training", "log_replicates_by_training", "shift_by_training")


def _in_first_training(curve: MethodCurve) -> MethodCurve:
    """Return the first training's own curve, of one training."""
    shift = np.nan_to_num(curve.shift_by_training[0])
    return replace(
        curve,
        fid=curve.fid_by_training[0],
        log_replicates=curve.log_replicates_by_training[0],
        log_seconds=curve.log_seconds + shift,
        log_relative=curve.log_relative + shift,
        # no trainings to read it in
        trainings=(),
        **{name: getattr(curve, name)[:0] for name in _BY_TRAINING},
    )


def _split_by_training(
    rows: DataFrame, measure: TimeMeasure, members: DataFrame | None
) -> tuple[tuple[int, ...], np.ndarray, np.ndarray, np.ndarray]:
    """Return the trainings with FIDs, log shifts of time and trial ids [trainings, points]; none below two."""
    own = DataFrame() if members is None else members[members["row_id"].isin(rows["trial_id"])]
    trainings = tuple(sorted({int(k) for k in own["training"].dropna()})) if len(own) else ()
    if len(trainings) < 2:
        empty = np.empty((0, len(rows)))
        return (), empty, empty, empty.astype(object)

    fid, shift = np.full((2, len(trainings), len(rows)), np.nan)
    ids = np.full(fid.shape, "", dtype=object)
    for place, (_, row) in enumerate(rows.iterrows()):
        for _, member in own[own["row_id"] == row["trial_id"]].dropna(subset=["training"]).iterrows():
            at = trainings.index(int(member["training"]))
            fid[at, place], ids[at, place] = member["fid"], member["trial_id"]
            ratios = [(member[column] / row[column]) ** power for column, power in measure.paired if row[column] > 0]
            shift[at, place] = next((np.log(ratio) for ratio in ratios if ratio > 0), 0.0)
    return trainings, fid, shift, ids


def _logs(values: np.ndarray) -> np.ndarray:
    """Return natural logs, NaN of what is not positive."""
    return np.log(np.where(values > 0, values, np.nan))


def _log_sides(rows: DataFrame, column: str) -> np.ndarray:
    """Return how far the log of a time may lie below and above its value [rows, 2]."""
    logs = _logs(rows[[column, f"{column}_low", f"{column}_high"]].to_numpy(np.float64))
    return np.clip(np.stack([logs[:, 0] - logs[:, 1], logs[:, 2] - logs[:, 0]], axis=1), 0.0, None)
