"""Searches that were repeated from other seeds: how far apart their outcomes lie, which no single search shows."""

from __future__ import annotations

from pandas import DataFrame, Series

from harness.identity import canonical_json
from harness.report.analysis.alike import PARTS, parameters
from harness.report.analysis.derive import Analysis
from harness.report.formats import number
from harness.report.leaderboard import name_count
from harness.report.sections import Section

_SEED = "seed"
_ALIKE = ("network", "weights", "weights_sha256", "steps", "batch", "seed_set", "precision_dtype")


def search_spread(analysis: Analysis) -> Section:
    """Return per group of trials that differ in the seed of a part alone: their FIDs, and FLOPs, least and greatest."""
    rows = []
    for one in analysis.classes:
        for _, group in _repeated(one.rows):
            first = group.iloc[0]
            fids = group["fid"].sort_values()
            gigaflops = group["flops_per_image"] / 1e9
            rows.append((
                f"{', '.join(group['method'])}, {name_count(first['nfe'], first['steps'])}", first["network"],
                str(len(group)), ", ".join(number(fid) for fid in group["fid"]), number(fids.iloc[-1] - fids.iloc[0]),
                f"{number(gigaflops.min())} to {number(gigaflops.max())}",
            ))  # fmt: skip
    headings = ("Trials", "Network", "Seeds", "FID of each", "Greatest less least FID", "GFLOPs/image")
    return Section(headings, rows)


def _repeated(rows: DataFrame) -> list[tuple[str, DataFrame]]:
    """Return the rows of two seeds or more, by what they share, in order of their seeds."""
    rows = rows.assign(
        shared=[_but_for_the_seed(row) for _, row in rows.iterrows()],
        seeds=[canonical_json(_seeds(row)) for _, row in rows.iterrows()],
    )
    rows = rows[[bool(_seeds(row)) for _, row in rows.iterrows()]].sort_values(["seeds", "trial_id"])
    return [(str(key), group) for key, group in rows.groupby("shared") if group["seeds"].nunique() > 1]


def _seeds(row: Series) -> list[int]:
    return [parameters(row, part)[_SEED] for part in PARTS if _SEED in parameters(row, part)]


def _but_for_the_seed(row: Series) -> str:
    parts = [[row[part], {k: v for k, v in parameters(row, part).items() if k != _SEED}] for part in PARTS]
    return canonical_json([parts, *(str(row[column]) for column in _ALIKE)])
