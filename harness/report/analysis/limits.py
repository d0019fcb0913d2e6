"""The network's own limit: the FID of its images where the sampler's error is gone.

It comes from the card of the zoo, where the network was solved out with the same features and as many images, and from
nowhere else. Without a card the FID of the network's row with the most evaluations may be shown in its place, by that
row's name: it is no limit, for the sampler's error may still be in it, so nothing is compared with it.
A row below the limit is not better than the network: errors of sampler and network cancel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from pandas import DataFrame, Series

from harness.report.analysis.method_lines import distinct_names
from harness.report.formats import DASH, format_interval, format_number

LIMIT_HEADING = "Network's limit (FID)"
BELOW_LIMIT = "below the network's own limit: errors cancel"
WHOLE_DENOISER = "full"
"""The denoiser that runs the whole network at every step."""


@dataclass(frozen=True)
class LimitFid:
    """A network's FID solved out, by its zoo card, with its 95 % interval."""

    fid: float
    low: float
    high: float


@dataclass(frozen=True)
class LongestRow:
    """A row of the whole network with the most evaluations, and its FID with the 95 % interval; no limit."""

    name: str
    fid: float
    low: float
    high: float


def network_limits(rows: DataFrame) -> dict[str, LimitFid]:
    """Return the limit of each network of comparable rows that has a card; the others have none."""
    known = rows[rows["network_limit_fid"].notna()].sort_values(["network", "steps", "trial_id"])
    first = known.drop_duplicates("network")
    ends = first["network_limit_fid"], first["network_limit_fid_low"], first["network_limit_fid_high"]
    return {str(name): LimitFid(*fid) for name, *fid in zip(first["network"], *ends, strict=True)}


def longest_rows(rows: DataFrame) -> dict[str, LongestRow]:
    """Return the row with the most evaluations of each whole network without a card; none where it has no such row."""
    named = rows.assign(_name=distinct_names(rows))
    whole = named[(named["denoiser"] == WHOLE_DENOISER) & (named["executor"] == "serial")]
    whole = whole[~whole["network"].isin(network_limits(rows))].dropna(subset=["fid", "nfe"])
    last = whole.sort_values(["network", "nfe", "trial_id"]).drop_duplicates("network", keep="last")
    return {
        str(row["network"]): LongestRow(row["_name"], row["fid"], row["fid_low"], row["fid_high"])
        for _, row in last.iterrows()
    }


def is_below_limit(row: Series, limit: LimitFid | None) -> bool:
    """Return whether the row's FID is significantly below the limit.

    The 95 % interval of the difference joins both half widths as those of independent figures.
    """
    if limit is None or math.isnan(row["fid"]):
        return False
    half = math.hypot(row["fid_high"] - row["fid"], limit.fid - limit.low)
    return bool(limit.fid - row["fid"] > half)


def rows_below_limit(rows: DataFrame, limits: dict[str, LimitFid]) -> set[str]:
    """Return the ids of the trials that are significantly below their network's limit."""
    return {row["trial_id"] for _, row in rows.iterrows() if is_below_limit(row, limits.get(row["network"]))}


def limit_text(row: Series) -> str:
    """Return the limit of a row's network as its zoo card has it, with its interval; a dash where it has none."""
    value, low, high = (float(row[f"network_limit_fid{end}"]) for end in ("", "_low", "_high"))
    return DASH if math.isnan(value) else f"{format_number(value)} {format_interval(low, high)}".strip()
