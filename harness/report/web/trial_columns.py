"""The columns that a trial fills in the tables of methods, and the cells of rows that rank and of those that do not."""

from __future__ import annotations

import math
from collections.abc import Mapping

from pandas import Series

from harness.report.analysis.derive import NOT_TIMED
from harness.report.analysis.derived import DERIVED
from harness.report.formats import format_count, format_interval, format_number
from harness.report.tables.cells import Cell, dash, interval_text, number_cell
from harness.report.tables.trial_table import why_empty
from harness.report.web.page_cells import PageColumn
from harness.schema import METRICS, TRIALS

SENTENCES = {**{column.name: column.sentence for column in TRIALS.columns}, **DERIVED}
"""What each stored or derived column means, by its name."""
BADGE = PageColumn(
    "badge",
    "Badge",
    "VALID: ranks. Disturbed: other work disturbed its timing, so it ranks in time only where its interval overlaps no "
    "other. Does not rank: INVALID or failed, with the reason.",
    shown=True,
    card=True,
)
SPEEDUP = PageColumn(
    "equal_quality_speedup", "Speed-up at equal FID", SENTENCES["equal_quality_speedup"] + " ≥ and ≤ are bounds: the "
    "row's FID lies beyond the baseline's curve.", shown=True, card=True,
)  # fmt: skip
BEST_FID = PageColumn(
    "fid", "FID, and at which steps",
    f"{SENTENCES['fid']} Of a method: of the trial whose times stand in this line, that of the largest speed-up at "
    "equal FID (of the lowest FID where no speed-up is known).", shown=True, card=True,
)  # fmt: skip


def _column(key: str, text: str, shown: bool = False, sentence: str = "") -> PageColumn:
    return PageColumn(key, text, sentence or SENTENCES[key], shown)


COSTS = (
    BEST_FID,
    SPEEDUP,
    _column("latency_seconds", "Latency (ms)", True, f"{SENTENCES['latency_seconds']} "
            "Pooled over timing blocks: ratio to the clock times the clock's median."),
    _column("throughput_images_per_second", "Images/s", True),
    _column("flops_per_image", "GFLOPs/image", True),
)  # fmt: skip
HIDDEN = (
    _column("nfe", "NFE"),
    _column("speedup", "Speed-up over the clock"),
    _column("tie_group", "Tie group by FID"),
    _column("fid_floor", "FID floor"),
    _column("kid", "KID"),
    _column("precision", "Precision"),
    _column("recall", "Recall"),
    _column("truncation_error", "Truncation error"),
    *(_column(metric.name, metric.label) for metric in METRICS.values() if metric.source == "pairs"),
    _column("psnr_worst_1pct", "PSNR of the worst 1 %, dB"),
    _column("identical_share", "Equal images, share"),
    _column("copy_rate", "Copies of reference images"),
    _column("throughput_batch", "Batch of images/s"),
    _column("flops_to_time_yield", "FLOPs-to-time yield"),
    _column("break_even_images", "Break-even (images)"),
    PageColumn("pareto", "On a Pareto front", DERIVED["pareto_time_probability"]),
    _column("peak_memory_bytes", "Peak memory (MiB)"),
    _column("energy_joules_per_image", "Energy (J/image)"),
    _column("network_time_share", "Network's share of time"),
    _column("prepare_seconds", "Preparation (device-s)"),
    _column("devices", "Devices"),
)
"""Columns that only the column chooser shows."""
_UNITS = {"latency_seconds": 1e3, "flops_per_image": 1e-9, "peak_memory_bytes": 2**-20}
_ENDS = {
    "latency_seconds": ("latency_low_seconds", "latency_high_seconds"),
    "fid": ("fid_low", "fid_high"),
    "speedup": ("speedup_low", "speedup_high"),
    **{
        name: (f"{name}_low", f"{name}_high")
        for name in ("truncation_error", *(one.name for one in METRICS.values() if one.source == "pairs"))
    },
}


def ranked_cells(row: Series, known: Mapping[str, Cell]) -> dict[str, Cell]:
    """Return the cells of a row that ranks by column; `known` are those of the table of trials."""
    figures = {column.key for column in (*COSTS, *HIDDEN)} - {SPEEDUP.key, "pareto"}
    found = {**known, **{key: _figure_cell(row, key) for key in figures - set(known)}}
    return {**found, BADGE.key: _badge_cell(row), SPEEDUP.key: _speedup_cell(row)}


def unranked_cells(row: Series) -> dict[str, Cell]:
    """Return the cells of a row that does not rank: its figures as they were measured, and why it does not rank."""
    found = {column.key: _figure_cell(row, column.key) for column in (*COSTS, *HIDDEN) if column.key in row.index}
    verdict = "failed" if row["status"] == "failed" else row["verdict"] or "no verdict"
    reasons = row["reasons"] or "no reason was recorded"
    return {**found, BADGE.key: Cell(f"does not rank: {verdict}", 2.0, (reasons,))}


def _badge_cell(row: Series) -> Cell:
    if row["disturbed"]:
        return Cell("disturbed", 1.0, (f"disturbed timing: {row['disturbed']}",))
    return Cell("VALID", 0.0)


def _speedup_cell(row: Series) -> Cell:
    """Return the speed-up at equal quality, or its bound, with its interval."""
    name = SPEEDUP.key
    low, high, note = row[f"{name}_low"], row[f"{name}_high"], row[f"{name}_note"]
    for sign, value in (("", row[name]), ("≥ ", row[f"{name}_at_least"]), ("≤ ", row[f"{name}_at_most"])):
        if not math.isnan(value):
            text = f"{sign}{format_number(value)}× {format_interval(low, high)}".strip()
            return Cell(text, float(value), (note,) if note else ())
    return dash(note or NOT_TIMED)


def _figure_cell(row: Series, key: str) -> Cell:
    """Return a stored figure in its heading's unit, with its interval where one is stored."""
    value, unit = row[key], _UNITS.get(key, 1.0)
    if math.isnan(value):
        return dash(why_empty(key, row))
    if key in _ENDS:
        low, high = (row[end] * unit for end in _ENDS[key])
        return number_cell(value, interval_text(value * unit, low, high))

    error = METRICS[key].standard_error if key in METRICS else None
    text = format_number(value * unit) if abs(value) < 1 or key in _UNITS else _number_text(value)
    return number_cell(value, f"{text} ± {format_number(row[error])}" if error and row[error] == row[error] else text)


def _number_text(value: float) -> str:
    return format_count(value) if abs(value) < 1e7 else format_number(value)
