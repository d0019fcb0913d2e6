"""The network's own limit as a cell, the same in every table."""

from __future__ import annotations

from harness.report.analysis.limits import FROM_CARD, LimitFid
from harness.report.tables.cells import Cell, dash, interval_text, number_cell

NO_LIMIT = "neither a zoo card with these features and as many images, nor a row of the whole network"


def limit_cell(limit: LimitFid | None) -> Cell:
    """Return the limit with its interval; a footnote where a row stands in for the card."""
    if limit is None:
        return dash(NO_LIMIT)
    doubt = "" if limit.converged else ", not shown to have converged"
    stand_in = f"no zoo card with these features and as many images: {limit.source}{doubt}"
    note = "" if limit.source == FROM_CARD else stand_in
    return number_cell(limit.fid, interval_text(limit.fid, limit.low, limit.high), note)
