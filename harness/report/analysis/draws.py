"""Seeded draws of what FIDs and times may truly be, given what was measured; shared by fronts and curves.

FIDs are drawn together, in log space. Rows share the noise of images: their jackknife replicates give the covariance,
and one draw of Student's t (groups - 1 degrees of freedom) moves all of them.
Rows of one network share its trainings: the members' deviations from their mean do the same (trainings - 1 degrees).
The mean over trainings has only the noise of images that they share; the rest is in the deviations already.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pandas import DataFrame

from harness.report.analysis.inference import common_variance
from harness.stats import LEVEL, standard_error

DRAWS = 4000
_SEED = 20251


@dataclass(frozen=True)
class FidDraws:
    """Draws of log FID by row."""

    log_fids: np.ndarray
    """[draws, rows]; NaN where a row has no FID above 0."""
    trial_ids: tuple[str, ...]
    has_error: np.ndarray
    """[rows]: whether the row has trainings or replicates; else all its draws are its FID."""

    def of(self, trial_ids: list[str]) -> np.ndarray | None:
        """Return the draws [draws, trials] of some rows; None where one has no error."""
        places = [self.trial_ids.index(one) for one in trial_ids if one in self.trial_ids]
        if len(places) < len(trial_ids) or not self.has_error[places].all():
            return None
        return self.log_fids[:, places]


def draw_log_fids(rows: DataFrame, members: DataFrame, replicates: DataFrame, draws: int = DRAWS) -> FidDraws:
    """Return draws of the rows in order of trial_id; `replicates` are those of the members."""
    rows = rows.sort_values("trial_id")  # the draws do not depend on the order of rows
    rng = np.random.default_rng(_SEED)
    with np.errstate(invalid="ignore", divide="ignore"):
        values = np.log(rows["fid"].where(rows["fid"] > 0).to_numpy(dtype=np.float64))

    images, trainings = _deviations(rows, members, replicates)
    noise = _draw_student(rng, np.nan_to_num(images), draws)
    for network in sorted(rows["network"].unique()):
        here = (rows["network"] == network).to_numpy()
        counts = np.isfinite(trainings[:, here]).sum(axis=0)
        for count in sorted({int(one) for one in counts if one > 1}):
            chosen = np.flatnonzero(here)[counts == count]
            own = trainings[:, chosen]
            own = own[np.isfinite(own).any(axis=1)]
            noise[:, chosen] += _draw_student(rng, np.nan_to_num(own), draws, count - 1)
    has_error = np.isfinite(images).any(axis=0) | np.isfinite(trainings).any(axis=0)
    return FidDraws(values + noise, tuple(rows["trial_id"]), has_error)


def draw_log_times(rows: DataFrame, draws: int = DRAWS) -> np.ndarray:
    """Return logs of `relative_time` [draws, rows], rows in order of trial_id.

    They are normal on either side of the value, as wide as its 95 % interval.
    A row without an interval keeps its value; one without the time is NaN.
    """
    from scipy.special import ndtri

    rng = np.random.default_rng(_SEED + 1)
    rows = rows.sort_values("trial_id")
    value, low, high = (np.log(rows[f"relative_time{end}"].to_numpy(dtype=np.float64)) for end in ("", "_low", "_high"))
    quantile = float(ndtri(0.5 + LEVEL / 2))
    below, above = (np.nan_to_num(np.maximum(side, 0)) / quantile for side in (value - low, high - value))

    normal = rng.standard_normal((draws, len(rows)))
    return value + normal * np.where(normal < 0, below, above)


def _deviations(rows: DataFrame, members: DataFrame, replicates: DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return deviations of log FID whose squares add up to variances of the rows.

    Of images [groups, rows], NaN where there are none; of trainings [trainings, rows], NaN where a row lacks one.
    """
    numbers = sorted(members["training"].unique())
    images = np.full((replicates.shape[1], len(rows)), np.nan)
    trainings = np.full((len(numbers), len(rows)), np.nan)
    by_row = {key: group.sort_values("training") for key, group in members.groupby("row_id")}

    for place, row_id in enumerate(rows["trial_id"]):
        # the members' figures
        own = by_row.get(row_id)
        if own is None or not (own["fid"] > 0).all():
            continue
        fid, count = np.log(own["fid"].to_numpy(dtype=np.float64)), len(own)
        if count > 1:
            positions = [numbers.index(one) for one in own["training"]]
            trainings[positions, place] = (fid - fid.mean()) / np.sqrt(count * (count - 1))

        # their replicates
        left_out = replicates.reindex(own["trial_id"]).to_numpy(dtype=np.float64)
        known = np.isfinite(left_out).all(axis=0) & (left_out > 0).all(axis=0)
        if known.sum() > 1:
            images[known, place] = _image_deviations(np.log(left_out[:, known]))
    return images, trainings


def _image_deviations(logs: np.ndarray) -> np.ndarray:
    """Return deviations [groups] of the mean's replicates, scaled to the noise of images that it still needs.

    `logs` [trainings, groups] hold log replicates.
    """
    mean = logs.mean(axis=0)
    deviations = (mean - mean.mean()) * np.sqrt((len(mean) - 1) / len(mean))
    if len(logs) == 1:
        return deviations
    whole = standard_error(mean.tolist())
    return deviations * (np.sqrt(common_variance(logs)) / whole if whole > 0 else 0.0)


def _draw_student(
    rng: np.random.Generator, deviations: np.ndarray, draws: int, degrees: int | None = None
) -> np.ndarray:
    """Return draws [draws, rows] of Student's t whose scale has the covariance D^T D of `deviations` D [n, rows]."""
    count = len(deviations)
    if count < 2:
        return np.zeros((draws, deviations.shape[1]))
    degrees = count - 1 if degrees is None else degrees
    scale = np.sqrt(degrees / rng.chisquare(degrees, draws))
    return (rng.standard_normal((draws, count)) @ deviations) * scale[:, None]
