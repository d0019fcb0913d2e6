"""FLOPs-to-time yield: how much of the saved arithmetic became saved time."""

from __future__ import annotations

import math

LEAST_SAVING = 0.2
"""Share of the arithmetic that must be saved: below it the quotient is the noise of times, divided by little."""


def time_yield(time_ratio: float, flops_ratio: float) -> tuple[float, str]:
    """Return (1 - time ratio) / (1 - FLOPs ratio), or NaN and the reason.

    NaN without a reason where a ratio was not measured.
    """
    if math.isnan(time_ratio) or math.isnan(flops_ratio):
        return math.nan, ""
    saved = 1 - flops_ratio
    if saved <= 0:
        return math.nan, "no arithmetic saved"
    if saved < LEAST_SAVING - 1e-9:  # the ratio is rounded
        return math.nan, f"{saved:.1%} of the arithmetic saved, less than {LEAST_SAVING:.0%}"
    return (1 - time_ratio) / saved, ""
