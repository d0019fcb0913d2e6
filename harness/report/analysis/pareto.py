"""The Pareto front of two costs: rows that no other row beats in one without losing in the other."""

from __future__ import annotations

import numpy as np


def pareto_front(cost: np.ndarray, fid: np.ndarray) -> np.ndarray:
    """Return a flag [rows]: on the front where both costs are to be small; rows with a NaN never are.

    Two rows with the same pair of values are both on the front.
    Point estimates alone decide: intervals are drawn, not used.
    """
    known = np.isfinite(cost) & np.isfinite(fid)
    no_worse = (cost[:, None] <= cost[None, :]) & (fid[:, None] <= fid[None, :])
    better = (cost[:, None] < cost[None, :]) | (fid[:, None] < fid[None, :])
    dominated = np.any(no_worse & better & known[:, None], axis=0)
    return known & ~dominated
