"""The rules that end a warm-up."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from harness.specs.rules.timing import TierRules


def is_steady(seconds: Sequence[float], tier: TierRules) -> bool | None:
    """Return whether the medians of the last two windows of calls agree; None where the tier does not judge it."""
    window = tier.steady_window
    if not window:
        return None
    if len(seconds) < 2 * window:
        return False

    before = median(seconds[-2 * window : -window])
    after = median(seconds[-window:])
    return abs(after - before) < tier.steady_share * before


def is_warm(seconds: Sequence[float], tier: TierRules) -> bool:
    """Return whether a warm-up is over: its calls are enough, and steady, or as many or as long as they may be."""
    if len(seconds) < tier.warm_up_calls or sum(seconds) < tier.warm_up_seconds:
        return False
    at_most = len(seconds) >= tier.warm_up_most or sum(seconds) >= tier.warm_up_most_seconds
    return at_most or is_steady(seconds, tier) is not False
