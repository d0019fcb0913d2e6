"""What stands above the tables of report.html."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.report.analysis.comparisons import Comparison
from harness.report.analysis.derive import Analysis
from harness.report.leaderboard import Leaderboard


@dataclass(frozen=True)
class Top:
    """What the template top.html.j2 fills in."""

    scripts: tuple[str, ...] = ()
    """Scripts that the page runs in this order, before those of the tables; the page's policy names each."""


def make_top(
    analysis: Analysis, board: Leaderboard, pairs: Sequence[Comparison], pictures: Mapping[str, np.ndarray]
) -> Top:
    """Return what stands above the tables.

    `pictures` holds the sample pictures by trial_id, uint8 [n, channels, h, w]; trials without any are not in it.
    """
    return Top()
