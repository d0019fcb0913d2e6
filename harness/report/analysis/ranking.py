"""Tie groups instead of bare ranks: rows whose FIDs do not differ within their intervals."""

from __future__ import annotations

import math

import numpy as np
from pandas import DataFrame, Series

from harness.report.analysis.replicates import half_width


def tie_groups(rows: DataFrame, replicates: DataFrame) -> Series:
    """Return the tie group of each row by FID, from 1; NaN where FID is empty.

    The best row not yet in a group leads the next one.
    A remaining row joins it if the 95 % interval of their paired difference contains 0.
    Without replicates on both sides, overlapping intervals tie.
    Without intervals, only equal FIDs do.
    Ties are not transitive: two members of a group may differ from each other.
    """
    known = rows.dropna(subset=["fid"]).sort_values(["fid", "trial_id"])
    fid, low, high = (known[name].to_numpy() for name in ("fid", "fid_low", "fid_high"))
    left_out = replicates.reindex(known["trial_id"]).to_numpy()  # [rows, groups]

    group_of = np.zeros(len(known))
    for leader in range(len(known)):
        if group_of[leader]:
            continue

        number = group_of.max() + 1
        for row in range(leader, len(known)):
            width = _paired_half_width(left_out[leader], left_out[row])
            tied = low[row] <= high[leader] if math.isnan(width) else fid[row] - fid[leader] <= width
            if not group_of[row] and (tied or fid[row] == fid[leader]):
                group_of[row] = number

    return Series(group_of, index=known.index).reindex(rows.index)


def _paired_half_width(leader: np.ndarray, row: np.ndarray) -> float:
    """Return half the 95 % interval of the difference; NaN below two groups known on both sides."""
    differences = row - leader
    return half_width(differences[np.isfinite(differences)])
