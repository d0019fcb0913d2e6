"""Truncation errors of tuned networks beside two flows: the untuned network's, and the tuned one's own."""

from __future__ import annotations

import math

from harness.report.analysis.derive import Analysis
from harness.report.formats import DASH, interval, number
from harness.report.leaderboard import name_count
from harness.report.sections import Section


def tuned_truncation(analysis: Analysis) -> Section:
    """Return per row whose network was tuned how far its images lie from both flows, solved out from the same noise.

    Near the untuned network's flow and far from its own: the tuned network takes the steps of the untuned one, and no
    longer has a flow that is worth solving out. Near neither: tuning changed what is sampled.
    """
    rows = []
    for one in analysis.classes:
        for _, row in one.rows.iterrows():
            if math.isnan(row["own_truncation_error"]):
                continue
            rows.append((
                f"{row['method']}, {name_count(row['nfe'], row['steps'])}", row["network"], number(row["fid"]),
                _ranged(row, "truncation_error"), _ranged(row, "own_truncation_error"), row["returned"] or DASH,
            ))  # fmt: skip
    headings = ("Trial", "Network", "FID", "Truncation error, untuned network's flow",
                "Truncation error, its own flow", "Preparing returned")  # fmt: skip
    return Section(headings, rows)


def _ranged(row: object, name: str) -> str:
    value, low, high = (float(row[name + end]) for end in ("", "_low", "_high"))  # type: ignore[index]
    return DASH if math.isnan(value) else f"{number(value)} {interval(low, high)}".strip()
