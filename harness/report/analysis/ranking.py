"""Tie groups instead of bare ranks: rows whose FIDs do not differ within their intervals."""

from __future__ import annotations

import math

import numpy as np
from pandas import DataFrame, Series

from harness.report.analysis.paired import TrainingFigures


def tie_groups(rows: DataFrame, figures: TrainingFigures) -> Series:
    """Return the tie group of each row by FID, from 1; NaN where FID is empty.

    The best row not yet in a group leads the next one.
    A remaining row joins it if the 95 % interval of their paired difference contains 0.
    Without such an interval, overlapping intervals tie. Without any, only equal FIDs do.
    Ties are not transitive: two members of a group may differ from each other.
    """
    known = rows.dropna(subset=["fid"]).sort_values(["fid", "trial_id"])
    fid, low, high = (known[name].to_numpy() for name in ("fid", "fid_low", "fid_high"))
    ids = list(known["trial_id"])

    group_of = np.zeros(len(known))
    for leader in range(len(known)):
        if group_of[leader]:
            continue

        number = group_of.max() + 1
        for row in range(leader, len(known)):
            if group_of[row]:
                continue
            pair = figures.subtract(ids[row], ids[leader])
            tied = low[row] <= high[leader] if math.isnan(pair.half) else abs(pair.value) <= pair.half
            if tied or fid[row] == fid[leader]:
                group_of[row] = number

    return Series(group_of, index=known.index).reindex(rows.index)
