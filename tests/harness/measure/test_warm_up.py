"""When a warm-up is over, and that every tier has rounds enough for its intervals."""

from __future__ import annotations

import numpy as np
import pytest

from harness.measure.warm_up import is_steady, is_warm
from harness.specs.rules.timing import TIERS
from harness.stats import median_interval

SMOKE, QUICK, PAPER = (TIERS[name] for name in ("smoke", "quick", "paper"))


def test_steady_wants_two_windows_of_three_within_two_percent_in_the_tier_paper() -> None:
    assert not is_steady([1.0] * 5, PAPER)
    assert is_steady([1.0] * 6, PAPER)
    assert is_steady([9.0, 5.0, 1.0, 1.0, 1.0, 1.015, 1.015, 1.015], PAPER)
    assert not is_steady([1.0, 1.0, 1.0, 1.03, 1.03, 1.03], PAPER)
    assert not is_steady([1.03, 1.03, 1.03, 1.0, 1.0, 1.0], PAPER)
    assert is_steady([1.0, 1.0, 7.0, 1.0, 7.0, 1.0], PAPER)  # one outlier in a window moves no median


def test_steady_wants_two_calls_within_five_percent_in_the_tier_quick_and_is_not_judged_in_smoke() -> None:
    assert is_steady([9.0, 1.0, 1.04], QUICK)
    assert not is_steady([1.0, 1.0, 1.06], QUICK)
    assert not is_steady([1.0], QUICK)
    assert is_steady([1.0] * 9, SMOKE) is None


@pytest.mark.parametrize(
    ("seconds", "over"),
    [
        ([0.1] * 2, False),  # three calls at least
        ([0.2, 0.1, 0.1], True),
        ([0.3, 0.2, 0.1], False),
        ([0.3, 0.2, 0.1, 0.1], True),
        ([0.1, 0.2] * 2, False),
        ([0.1, 0.2] * 3, True),  # six at most
        ([0.1, 0.6, 0.3], True),  # a second is enough for what does not become steady
    ],
)
def test_a_quick_warm_up_goes_on_until_it_is_steady_but_not_for_long(seconds: list[float], over: bool) -> None:
    assert is_warm(seconds, QUICK) is over


def test_a_warm_up_of_a_paper_takes_five_seconds_and_at_most_a_minute() -> None:
    assert not is_warm([0.5] * 9, PAPER)
    assert is_warm([0.5] * 10, PAPER)
    assert not is_warm([10.0, 11.0, 12.0, 13.0], PAPER)
    assert is_warm([20.0, 25.0, 30.0], PAPER)
    assert is_warm([1.0], SMOKE)


def test_every_tier_reads_often_enough_for_an_interval() -> None:
    for tier in TIERS.values():
        assert median_interval(np.arange(float(tier.rounds))) is not None
        assert tier.warm_up_most >= max(tier.warm_up_calls, 2 * tier.steady_window)
    assert PAPER.rounds >= 64
    assert PAPER.seconds >= 60
    assert QUICK.rounds >= 11
