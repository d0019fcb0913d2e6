"""Whether two times to one target can be set apart: by their paired ratio, else by their intervals."""

from __future__ import annotations

import math

from harness.report.analysis.target_ratio import TimeRatio
from harness.report.analysis.target_time import AT_SMALLEST, REACHED, TargetTime


def is_time_tie(one: TargetTime, other: TargetTime, ratio: TimeRatio) -> bool:
    """Return whether two times that are reached may be equal.

    The interval of their paired ratio decides where both its ends are known, else whether their intervals overlap.
    """
    if any(time.state not in (REACHED, AT_SMALLEST) for time in (one, other)):
        return False
    if not ratio.sign and not math.isnan(ratio.low) and not math.isnan(ratio.high):
        return ratio.low <= 1 <= ratio.high
    return overlap_in_time(one, other)


def overlap_in_time(one: TargetTime, other: TargetTime) -> bool:
    """Return whether the intervals overlap; an open end reaches everywhere."""
    lows = [0.0 if math.isnan(time.low) else time.low for time in (one, other)]
    highs = [math.inf if math.isnan(time.high) else time.high for time in (one, other)]
    return max(lows) <= min(highs)
