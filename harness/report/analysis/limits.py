"""The network's own limit: the FID of its images where the sampler's error is gone.

It comes from the card of the zoo, where the network was solved out with the same features and as many images.
Else the row of the whole network with the most evaluations stands in; its name is printed, and whether it converged.
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
FROM_CARD = "zoo card"
WHOLE_DENOISER = "full"
"""The denoiser that runs the whole network at every step."""


@dataclass(frozen=True)
class LimitFid:
    """A network's FID solved out with its 95 % interval, and where it comes from."""

    fid: float
    low: float
    high: float
    source: str
    """FROM_CARD, or the name of the row that stands in."""
    converged: bool = True
    """Whether the sampler's error is known to be gone; else nothing is called below the limit."""


def network_limits(rows: DataFrame) -> dict[str, LimitFid]:
    """Return the limit of each network of comparable rows; none where neither card nor whole-network row has one."""
    limits = {}
    for network, members in rows.assign(_name=distinct_names(rows)).groupby("network", sort=True):
        # the card of the zoo
        known = members[members["network_limit_fid"].notna()]
        if len(known):
            first = known.sort_values(["steps", "trial_id"]).iloc[0]
            ends = (first["network_limit_fid_low"], first["network_limit_fid_high"])
            limits[str(network)] = LimitFid(first["network_limit_fid"], *ends, FROM_CARD)
            continue

        # the row with the most evaluations
        whole = members[(members["denoiser"] == WHOLE_DENOISER) & (members["executor"] == "serial")]
        whole = whole.dropna(subset=["fid", "nfe"]).sort_values(["nfe", "trial_id"])
        if len(whole):
            last = whole.iloc[-1]
            ends = (last["fid_low"], last["fid_high"])
            limits[str(network)] = LimitFid(last["fid"], *ends, last["_name"], _has_converged(whole))
    return limits


def _has_converged(whole: DataFrame) -> bool:
    """Return whether the longest of these rows, by evaluations, is no better than the longest of at most 3/4 of them.

    No better: their difference of FID lies within both half widths, joined as those of independent figures.
    """
    last = whole.iloc[-1]
    shorter = whole[whole["nfe"] <= 0.75 * last["nfe"]]
    if shorter.empty:
        return False
    before = shorter[shorter["nfe"] == shorter["nfe"].max()].sort_values("fid").iloc[0]
    half = math.hypot(last["fid_high"] - last["fid"], before["fid"] - before["fid_low"])
    return bool(before["fid"] - last["fid"] <= half)


def is_below_limit(row: Series, limit: LimitFid | None) -> bool:
    """Return whether the row's FID is significantly below the limit.

    The 95 % interval of the difference joins both half widths as those of independent figures.
    """
    if limit is None or not limit.converged or math.isnan(row["fid"]):
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
