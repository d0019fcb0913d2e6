"""A method's curve of FID against time, by one measure of time: its points, per training and with replicates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pandas import DataFrame, Series


@dataclass(frozen=True)
class TimeMeasure:
    """A way to measure time, and the columns that hold it; `own` ones stand in where the others are empty."""

    name: str
    pooled: str
    relative: str
    own: tuple[str, str]
    """Column of the block's own figure, and which power of it is seconds: "seconds" or "per second"."""


THROUGHPUT = TimeMeasure(
    "throughput", "pooled_seconds_per_image", "relative_time", ("throughput_images_per_second", "per second")
)
LATENCY = TimeMeasure("latency", "pooled_latency_seconds", "relative_latency", ("latency_seconds", "seconds"))
MEASURES = (THROUGHPUT, LATENCY)


@dataclass(frozen=True)
class MethodCurve:
    """Points [points] of one method with a FID and a time; logs are natural, times are seconds per image."""

    trial_ids: tuple[str, ...]
    steps: np.ndarray
    fid: np.ndarray
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


def seconds_columns(rows: DataFrame, measure: TimeMeasure) -> DataFrame:
    """Return seconds per image with low and high, and the same relative to the clock [rows].

    Tables from before pooled times have the block's own figures in their place.
    """
    own, unit = measure.own
    plain = 1.0 / rows[own] if unit == "per second" else rows[own]
    ends = ("latency_low_seconds", "latency_high_seconds")

    # what stands in
    relative = _three(rows, measure.relative, [f"{measure.relative}_{end}" for end in ("low", "high")])
    if unit == "seconds":
        fallback = [plain, rows[ends[0]], rows[ends[1]]]
    else:
        fallback = [plain, *(plain * relative[end] / relative[0] for end in (1, 2))]
    if measure.relative not in rows:
        relative = fallback

    # the pooled figures
    stem = measure.pooled
    pooled = _three(rows, stem, [f"{stem}_low", f"{stem}_high"])
    found = [one.fillna(other) for one, other in zip(pooled, fallback, strict=True)]
    names = ("seconds", "low", "high", "relative", "relative_low", "relative_high")
    return DataFrame(dict(zip(names, [*found, *relative], strict=True)), index=rows.index)


def _three(rows: DataFrame, value: str, ends: list[str]) -> list[Series]:
    empty = Series(np.nan, rows.index, dtype=np.float64)
    return [rows[name].astype(np.float64) if name in rows else empty for name in (value, *ends)]


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
    times = seconds_columns(rows, measure)
    kept = (rows["fid"] > 0) & (times["seconds"] > 0) & (times["relative"] > 0)
    rows, times = rows[kept], times[kept]

    trainings, fid, shift, ids = _split_by_training(rows, measure, members)
    of_members = DataFrame() if member_replicates is None else member_replicates
    by_training = [_logs(of_members.reindex(one).to_numpy(np.float64)) for one in ids]
    return MethodCurve(
        trial_ids=tuple(rows["trial_id"]),
        steps=rows["steps"].to_numpy(np.float64),
        fid=rows["fid"].to_numpy(np.float64),
        log_seconds=np.log(times["seconds"].to_numpy()),
        log_relative=np.log(times["relative"].to_numpy()),
        sides=_log_sides(times[["seconds", "low", "high"]].to_numpy()),
        relative_sides=_log_sides(times[["relative", "relative_low", "relative_high"]].to_numpy()),
        log_replicates=_logs(replicates.reindex(rows["trial_id"]).to_numpy(np.float64)),
        disturbed=tuple(bool(one) for one in rows["disturbed"]) if "disturbed" in rows else (False,) * len(rows),
        # per training
        trainings=trainings,
        fid_by_training=fid,
        log_replicates_by_training=np.array(by_training).reshape(len(trainings), len(rows), -1 if trainings else 0),
        shift_by_training=shift,
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

    column, unit = measure.own
    sign = -1.0 if unit == "per second" else 1.0
    fid, shift = np.full((2, len(trainings), len(rows)), np.nan)
    ids = np.full(fid.shape, "", dtype=object)
    for place, (_, row) in enumerate(rows.iterrows()):
        for _, member in own[own["row_id"] == row["trial_id"]].dropna(subset=["training"]).iterrows():
            at = trainings.index(int(member["training"]))
            fid[at, place], ids[at, place] = member["fid"], member["trial_id"]
            ratio = member[column] / row[column]
            shift[at, place] = sign * np.log(ratio) if ratio > 0 else 0.0
    return trainings, fid, shift, ids


def _logs(values: np.ndarray) -> np.ndarray:
    """Return natural logs, NaN of what is not positive."""
    return np.log(np.where(values > 0, values, np.nan))


def _log_sides(times: np.ndarray) -> np.ndarray:
    """Return how far the log may lie below and above [rows, 2] for value, low and high [rows, 3]."""
    logs = _logs(times)
    return np.clip(np.stack([logs[:, 0] - logs[:, 1], logs[:, 2] - logs[:, 0]], axis=1), 0.0, None)
