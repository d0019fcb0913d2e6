"""When a warm-up is over, and that every tier has rounds enough for its intervals."""

from __future__ import annotations

import numpy as np

from harness.measure.warm_up import is_steady
from harness.specs.rules.timing import TIERS
from harness.stats import median_interval


def test_steady_wants_two_windows_of_three_within_two_percent() -> None:
    assert not is_steady([1.0] * 5)
    assert is_steady([1.0] * 6)
    assert is_steady([9.0, 5.0, 1.0, 1.0, 1.0, 1.015, 1.015, 1.015])
    assert not is_steady([1.0, 1.0, 1.0, 1.03, 1.03, 1.03])
    assert not is_steady([1.03, 1.03, 1.03, 1.0, 1.0, 1.0])
    assert is_steady([1.0, 1.0, 7.0, 1.0, 7.0, 1.0])  # one outlier in a window moves no median


def test_every_tier_reads_often_enough_for_an_interval() -> None:
    for tier in TIERS.values():
        assert median_interval(np.arange(float(tier.rounds))) is not None
    assert TIERS["paper"].rounds >= 64
    assert TIERS["paper"].seconds >= 60
    assert TIERS["quick"].rounds >= 11
