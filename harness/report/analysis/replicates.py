"""Jackknife replicates as stored in the table `quality`: a figure per trial and left-out group of image indices.

Every trial leaves out the same image indices, and image i starts from the same noise everywhere, so functions of
several trials (differences, ratios) are computed per replicate and keep their pairing (harness.stats).
"""

from __future__ import annotations

import math

import numpy as np
from pandas import DataFrame

from harness.stats import interval


def replicate_table(quality: DataFrame, figure: str = "fid") -> DataFrame:
    """Return a figure without group k: one row per trial_id, one column per group; empty cells are NaN."""
    known = quality.dropna(subset=[figure, "group"])
    return known.pivot_table(index="trial_id", columns="group", values=figure, aggfunc="last", sort=True)


def half_width(replicates: np.ndarray) -> float:
    """Return half the 95 % interval of the statistic with these leave-one-group-out values; NaN below two groups."""
    return interval(0.0, replicates.tolist()).high if len(replicates) > 1 else math.nan


def shared(replicates: DataFrame, trial_ids: list[str]) -> np.ndarray | None:
    """Return the replicates [trials, groups] over the groups that all these trials have, or None below two groups."""
    if not set(trial_ids) <= set(replicates.index):
        return None
    common = replicates.loc[trial_ids].dropna(axis=1)
    return common.to_numpy() if common.shape[1] > 1 else None
