"""Truncation errors of tuned networks from two flows: the untuned network's, and their own."""

from __future__ import annotations

import math

from pandas import Series

from harness.report.analysis.derive import Analysis
from harness.report.analysis.limits import LIMIT_HEADING, limit_text
from harness.report.formats import DASH, Section, format_interval, format_number
from harness.schema.trial_name import trial_name


def tuned_truncation_table(analysis: Analysis) -> Section:
    """Return per tuned row how far its images lie from both flows, solved finely from the same noise.

    Near the untuned network's flow and far from its own: it takes the untuned network's steps.
    It then has no flow that is worth solving finely.
    Near neither: tuning changed what is sampled.
    """
    rows = []
    for one in analysis.classes:
        for _, row in one.rows.iterrows():
            if math.isnan(row["own_truncation_error"]):
                continue

            rows.append((
                trial_name(row["network"], row["method"], row["steps"]), format_number(row["fid"]),
                _ranged(row, "truncation_error"), _ranged(row, "own_truncation_error"), row["returned"] or DASH,
                limit_text(row),
            ))  # fmt: skip
    headings = ("Trial", "FID", "Truncation error, untuned network's flow",
                "Truncation error, its own flow", "Preparing returned", LIMIT_HEADING)  # fmt: skip
    return Section(headings, rows)


def _ranged(row: Series, name: str) -> str:
    value, low, high = (float(row[name + end]) for end in ("", "_low", "_high"))
    return DASH if math.isnan(value) else f"{format_number(value)} {format_interval(low, high)}".strip()
