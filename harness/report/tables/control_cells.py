"""What a row differs in from its control, as a cell: the claim of a method that has no curve of its own."""

from __future__ import annotations

import math
from collections.abc import Iterable

from harness.report.analysis.comparisons import CONTROL, Comparison
from harness.report.analysis.method_lines import distinct_names
from harness.report.tables.cells import Cell, interval_text


def control_cells(pairs: Iterable[Comparison]) -> dict[str, Cell]:
    """Return by trial_id the differences from each control: of FID, and the ratio of times."""
    texts: dict[str, list[str]] = {}
    for pair in pairs:
        if pair.kind == CONTROL:
            texts.setdefault(pair.row["trial_id"], []).append(_difference_text(pair))
    return {trial_id: Cell("; ".join(found)) for trial_id, found in texts.items()}


def _difference_text(pair: Comparison) -> str:
    half = pair.difference_half
    sign = "+" if pair.difference > 0 else ""
    fid = f"FID {sign}{interval_text(pair.difference, pair.difference - half, pair.difference + half)}"
    time = "" if math.isnan(pair.time) else f", time ×{interval_text(pair.time, pair.time_low, pair.time_high)}"
    return f"{fid}{time} against {distinct_names(pair.other.to_frame().T)[0]}"
