"""Curves of FID against time whose true answer is known."""

from __future__ import annotations

import numpy as np

from harness.report.analysis.method_curve import MethodCurve

GROUPS = 20
STEPS = (5, 10, 20, 40)
LATENCIES = ("latency_seconds", "latency_low_seconds", "latency_high_seconds")


def power_law(steps: tuple[int, ...] = STEPS, at_one: float = 100.0, pace: float = 1.0) -> MethodCurve:
    """Return a curve of FID = at_one / seconds with no noise, at `pace` seconds a step."""
    seconds = pace * np.array(steps, dtype=np.float64)
    return curve_of(at_one / seconds, seconds, np.zeros((len(steps), GROUPS)))


def curve_of(fid: np.ndarray, seconds: np.ndarray, deviations: np.ndarray, timing: float = 0.0) -> MethodCurve:
    """Return a curve with these replicates (log deviations, [points, groups]) and half width of log times."""
    points = len(fid)
    return MethodCurve(
        trial_ids=tuple(f"{place} {seconds[place]:.17g}" for place in range(points)),
        steps=np.arange(points, dtype=np.float64),
        fid=fid,
        fid_high=fid,
        log_seconds=np.log(seconds),
        log_relative=np.log(seconds),
        sides=np.full((points, 2), timing),
        relative_sides=np.full((points, 2), timing),
        log_replicates=np.log(fid)[:, None] + deviations,
        disturbed=(False,) * points,
        trainings=(),
        fid_by_training=np.empty((0, points)),
        log_replicates_by_training=np.empty((0, points, 0)),
        shift_by_training=np.empty((0, points)),
    )


def with_trainings(
    curve: MethodCurve, fid_by_training: np.ndarray, deviations: np.ndarray | None = None
) -> MethodCurve:
    """Return the curve with these FIDs [trainings, points] and log deviations [trainings, points, groups]."""
    count = len(fid_by_training)
    noise = np.zeros((*fid_by_training.shape, GROUPS)) if deviations is None else deviations
    changes = {"trainings": tuple(range(count)), "fid_by_training": fid_by_training,
               "log_replicates_by_training": np.log(fid_by_training)[:, :, None] + noise,
               "shift_by_training": np.zeros_like(fid_by_training)}  # fmt: skip
    return MethodCurve(**{**curve.__dict__, **changes})
