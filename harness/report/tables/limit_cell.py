"""The network's own limit as a cell, the same in every table."""

from __future__ import annotations

from harness.report.analysis.time_to_quality import ClassQuality
from harness.report.tables.cells import Cell, dash, interval_text, number_cell

NO_CARD = "no zoo card of this network with these features and as many images, so its limit is unknown"


def limit_cell(quality: ClassQuality, network: str) -> Cell:
    """Return the limit with its interval; without a card "unknown", its longest row in a footnote."""
    limit, longest = quality.limits.get(network), quality.longest.get(network)
    if limit is not None:
        return number_cell(limit.fid, interval_text(limit.fid, limit.low, limit.high))
    if longest is None:
        return dash(NO_CARD)
    fid = interval_text(longest.fid, longest.low, longest.high)
    return Cell("unknown", "", (f"{NO_CARD}; its row with the most evaluations, {longest.name}, has FID {fid}",))
