"""Jackknife replicates of the table `quality`: a figure per trial and left-out group of images.

Every trial leaves out the same image indices, and image i starts from the same noise everywhere.
So differences and ratios of trials are computed per replicate and stay paired (harness.stats).
"""

from __future__ import annotations

import math

import numpy as np
from pandas import DataFrame

from harness.stats import interval


def replicate_table(quality: DataFrame, figure: str = "fid") -> DataFrame:
    """Return a figure's replicates: a row per trial_id, a column per left-out group; NaN is empty."""
    known = quality.dropna(subset=[figure, "group"])
    return known.pivot_table(index="trial_id", columns="group", values=figure, aggfunc="last", sort=True)


def half_width(replicates: np.ndarray) -> float:
    """Return half the 95 % interval of a statistic from its replicates [groups]; NaN below two."""
    return interval(0.0, replicates.tolist()).high if len(replicates) > 1 else math.nan


def common_replicates(replicates: DataFrame, trial_ids: list[str]) -> np.ndarray | None:
    """Return the replicates [trials, groups] of the groups that all trials have; None below two."""
    if not set(trial_ids) <= set(replicates.index):
        return None
    common = replicates.loc[trial_ids].dropna(axis=1)
    return common.to_numpy() if common.shape[1] > 1 else None
