"""The rule that ends a warm-up."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from harness.specs.rules.timing import STEADY_SHARE, STEADY_WINDOW


def is_steady(seconds: Sequence[float]) -> bool:
    """Return whether the medians of the last two windows of calls differ by less than the allowed share."""
    if len(seconds) < 2 * STEADY_WINDOW:
        return False

    before = median(seconds[-2 * STEADY_WINDOW : -STEADY_WINDOW])
    after = median(seconds[-STEADY_WINDOW:])
    return abs(after - before) < STEADY_SHARE * before
