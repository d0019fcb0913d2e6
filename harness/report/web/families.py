"""A section per family of methods: its claim, what was measured, its controls, its own figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.report.analysis.comparisons import Comparison
from harness.report.analysis.derive import Analysis
from harness.report.leaderboard import Leaderboard


@dataclass(frozen=True)
class FamilySection:
    """One family, as the template families.html.j2 fills it in."""

    family: str


def make_families(
    analysis: Analysis, board: Leaderboard, pairs: Sequence[Comparison], plots: Mapping[str, bytes]
) -> tuple[FamilySection, ...]:
    """Return the families that have rows; `plots` are the figures by file name."""
    return ()
