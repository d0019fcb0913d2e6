"""When two times to a target may be equal."""

from __future__ import annotations

import math

import pytest

from harness.report.analysis.target_ratio import TimeRatio
from harness.report.analysis.target_time import AT_SMALLEST, NOT_REACHED, PARTLY, REACHED, TargetTime
from harness.report.analysis.time_ties import is_time_tie

OPEN = math.nan
FIRST = TargetTime(REACHED, 2.0, 1.5, 2.5)


@pytest.mark.parametrize(
    ("low", "high", "tie"),
    [(2.4, 3.0, True), (2.6, 3.0, False), (OPEN, 3.0, True), (1.0, 1.4, False), (OPEN, 1.4, False), (2.6, OPEN, False)],
)
def test_without_a_paired_interval_overlap_decides_and_open_ends_reach_everywhere(
    low: float, high: float, tie: bool
) -> None:
    other = TargetTime(REACHED, 2.2, low, high)
    half_open = (TimeRatio(), TimeRatio(1.3, 1.1, OPEN, ">="), TimeRatio(1.3, OPEN, OPEN))
    assert [is_time_tie(other, FIRST, ratio) for ratio in half_open] == [tie] * 3


def test_a_paired_interval_decides_where_it_is_known() -> None:
    overlapping, apart = TargetTime(REACHED, 2.4, 2.0, 3.0), TargetTime(REACHED, 5.0, 4.0, 6.0)
    assert not is_time_tie(overlapping, FIRST, TimeRatio(0.8, 0.7, 0.9))
    assert is_time_tie(apart, FIRST, TimeRatio(0.8, 0.6, 1.1))


@pytest.mark.parametrize(("state", "tie"), [(AT_SMALLEST, True), (PARTLY, False), (NOT_REACHED, False)])
def test_only_what_is_reached_ties(state: str, tie: bool) -> None:
    assert is_time_tie(TargetTime(state), FIRST, TimeRatio()) is tie
