"""Searches that were repeated with other seeds: how far apart their outcomes lie."""

from __future__ import annotations

from pandas import DataFrame, Series

from harness.identity import canonical_json
from harness.report.analysis.alike import PARTS, part_parameters
from harness.report.analysis.derive import Analysis
from harness.report.analysis.limits import LIMIT_HEADING, limit_text
from harness.report.formats import Section, format_number
from harness.schema.trial_name import trial_name

_SEED = "seed"
_ALIKE = ("network", "weights", "weights_sha256", "steps", "batch", "seed_set", "precision_dtype")


def search_spread_table(analysis: Analysis) -> Section:
    """Return the FIDs and FLOPs of each group of trials that differ in the seed of a part alone."""
    rows = []
    for one in analysis.classes:
        for _, group in _repeated_searches(one.rows):
            names = [trial_name(row["network"], row["method"], row["steps"]) for _, row in group.iterrows()]
            fids = group["fid"].sort_values()
            gigaflops = group["flops_per_image"] / 1e9

            rows.append((
                ", ".join(names), str(len(group)), ", ".join(format_number(fid) for fid in group["fid"]),
                format_number(fids.iloc[-1] - fids.iloc[0]),
                f"{format_number(gigaflops.min())} to {format_number(gigaflops.max())}",
                limit_text(group.iloc[0]),
            ))  # fmt: skip
    headings = ("Trials", "Seeds", "FID of each", "Greatest less least FID", "GFLOPs/image", LIMIT_HEADING)
    return Section(headings, rows)


def _repeated_searches(rows: DataFrame) -> list[tuple[str, DataFrame]]:
    """Return the rows of each search with two seeds or more, in order of their seeds."""
    rows = rows.assign(
        shared=[_key_without_seed(row) for _, row in rows.iterrows()],
        seeds=[canonical_json(_seeds(row)) for _, row in rows.iterrows()],
    )
    rows = rows[[bool(_seeds(row)) for _, row in rows.iterrows()]].sort_values(["seeds", "trial_id"])
    return [(str(key), group) for key, group in rows.groupby("shared") if group["seeds"].nunique() > 1]


def _seeds(row: Series) -> list[int]:
    return [part_parameters(row, part)[_SEED] for part in PARTS if _SEED in part_parameters(row, part)]


def _key_without_seed(row: Series) -> str:
    parts = [[row[part], {k: v for k, v in part_parameters(row, part).items() if k != _SEED}] for part in PARTS]
    return canonical_json([parts, *(str(row[column]) for column in _ALIKE)])
