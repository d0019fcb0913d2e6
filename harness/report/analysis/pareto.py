"""The Pareto front of two costs: rows that no other row beats in one without losing in the other."""

from __future__ import annotations

import numpy as np
import pandas as pd
from pandas import DataFrame

from harness.report.analysis.draws import DRAWS, FidDraws, draw_log_times

LIKELY = 0.5
"""Membership probability from which a row counts as one of the front."""


def pareto_front(cost: np.ndarray, fid: np.ndarray) -> np.ndarray:
    """Return a flag [rows]: on the front where both costs are to be small; rows with a NaN never are.

    Two rows with the same pair of values are both on the front.
    Point estimates alone decide; `front_probabilities` gives how sure that is.
    """
    return _fronts(cost[None, :], fid[None, :])[0]


def front_probabilities(rows: DataFrame, fids: FidDraws, draws: int = DRAWS) -> tuple[np.ndarray, np.ndarray]:
    """Return the share of draws in which each row is on the front [rows], of time and of FLOPs.

    FIDs and times are drawn from their errors, FLOPs are exact. NaN where a row has no FID or no cost.
    """
    ordered = rows.sort_values("trial_id")
    places = [fids.trial_ids.index(one) for one in ordered["trial_id"]]
    log_fids = fids.log_fids[:, places]
    flops = np.broadcast_to(ordered["flops_per_image"].to_numpy(dtype=np.float64), log_fids.shape)

    found = []
    for cost in (draw_log_times(ordered, draws), flops):
        known = np.isfinite(cost[0]) & np.isfinite(log_fids[0])
        shares = np.where(known, _fronts(cost, log_fids).mean(axis=0), np.nan)
        found.append(pd.Series(shares, ordered.index).reindex(rows.index).to_numpy())
    return found[0], found[1]


def _fronts(cost: np.ndarray, fid: np.ndarray) -> np.ndarray:
    """Return flags [draws, rows]: on the front of its draw."""
    known = np.isfinite(cost) & np.isfinite(fid)
    order = np.lexsort((np.where(known, fid, np.inf), np.where(known, cost, np.inf)), axis=-1)
    costs, fids = (np.take_along_axis(np.where(known, values, np.inf), order, axis=1) for values in (cost, fid))

    # the lowest FID among the rows before, and the cost at which it was first had
    lowest = np.minimum.accumulate(fids, axis=1)
    is_lower = np.concatenate([lowest[:, :1] < np.inf, lowest[:, 1:] < lowest[:, :-1]], axis=1)
    places = np.where(is_lower, np.arange(fids.shape[1]), 0)
    cost_of_lowest = np.take_along_axis(costs, np.maximum.accumulate(places, axis=1), axis=1)
    dominated = (lowest < fids) | (cost_of_lowest < costs)

    flags = np.zeros(known.shape, dtype=bool)
    np.put_along_axis(flags, order, ~dominated, axis=1)
    return known & flags
