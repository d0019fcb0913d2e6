"""One FID target: every line's time to it with rank, both measures of time, and the ratios to the references."""

from __future__ import annotations

import math

from harness.report.analysis.limits import BELOW_LIMIT
from harness.report.analysis.method_curve import LATENCY, THROUGHPUT
from harness.report.analysis.target_ratio import TimeRatio
from harness.report.analysis.target_time import (
    AT_SMALLEST,
    NOT_MEASURED,
    NOT_REACHED,
    PARTLY,
)
from harness.report.analysis.time_to_quality import ClassQuality, MeasuredTime, QualityTime, rank_order
from harness.report.formats import DASH, format_count, format_number
from harness.report.tables.cells import Cell, Heading, Table, dash, marked_cell, number_cell
from harness.report.tables.limit_cell import limit_cell

DISTURBED = "read from a disturbed timing: it has a rank only where its interval overlaps no other"
TIES_WITH_RANK_1 = "cannot be told from rank 1"
_SIGNS = {">=": "≥ ", "<=": "≤ ", "": ""}


def target_tables(quality: ClassQuality, parallel: bool) -> tuple[Table, ...]:
    """Return a table per target that some line reaches, loosest first."""
    tables = (_target_table(quality, parallel, target) for target in quality.targets)
    return tuple(table for table in tables if table.rows)


def _target_table(quality: ClassQuality, parallel: bool, target: float) -> Table:
    lines = quality.parallel if parallel else quality.serial
    every = sorted((quality.times[line.name, target] for line in lines), key=rank_order)
    times = [one for one in every if one.ranked.time.state not in (NOT_REACHED, NOT_MEASURED)]
    costless = next((one.ranked.costless for one in times if one.ranked.costless), "")
    several = any(one.ranked.time.trainings > 1 for one in times)
    measure = "latency" if parallel else "throughput"
    fid = format_count(target)

    # the columns
    headings = (
        Heading("rank", "Rank"),
        Heading("method", "Method", words=True),
        Heading("throughput", f"ms/image to FID {fid}"),
        Heading("latency", f"Latency (ms) to FID {fid}"),
        Heading("steps", "Read at steps"),
        Heading("over_costless", f"Times faster than the best free schedule, by {measure}"),
        Heading("over_baseline", f"Times faster than the baseline, by {measure}"),
        Heading("best_fid", "Best FID"),
        Heading("network_limit_fid", "Network's limit (FID)"),
        *((Heading("trainings", "Trainings that reach it"),) if several else ()),
    )
    # what was measured
    title = f"{'Parallel executors: latency' if parallel else 'Time per image'} to FID {fid}"
    missed = len(every) - len(times)
    lines_miss = "line does" if missed == 1 else "lines do"
    further = f" {missed} further {lines_miss} not reach the target: the table above has the best FID."
    conditions = (
        f"Ranked by {measure}. A bound (≤) stands in the order by its time, without a rank; ranks count values alone."
        + (further if missed else ""),
        "Ratios are paired where both lines reach the target, so their intervals may be closed where those of the "
        "times are open.",
        f"Best free schedule under the baseline's solver: {costless or 'none reaches it'}. "
        f"Baseline: {quality.baseline or f'it {quality.no_baseline}'}.",
    )
    return Table(title, conditions, headings, tuple(_target_row(one, several, quality) for one in times))


def _target_row(one: QualityTime, several: bool, quality: ClassQuality) -> tuple[Cell, ...]:
    # the place
    ranked = one.ranked
    tie = (TIES_WITH_RANK_1,) if one.ties_with_rank_1 else ()
    rank = Cell(DASH, "", tie) if one.rank is None else number_cell(one.rank, str(one.rank), *tie)
    steps = " to ".join(f"{step:.0f}" for step in (*ranked.time.steps[:1], *ranked.time.steps[1:][-1:]))

    # both times, the ratios, what is best
    cells = (
        rank,
        marked_cell(one.line.name, one.line.name, one.line.rows["reproduced"].iloc[0]),
        time_cell(one, one.by_measure[THROUGHPUT.name]),
        time_cell(one, one.by_measure[LATENCY.name]),
        Cell(steps or DASH, float(ranked.time.steps[0]) if ranked.time.steps else ""),
        ratio_cell(ranked.over_costless, one.below_limit),
        ratio_cell(ranked.over_baseline, one.below_limit),
        Cell(DASH) if math.isnan(one.best_fid) else number_cell(one.best_fid, format_number(one.best_fid)),
        limit_cell(quality, one.line.network),
    )
    reached = f"{ranked.time.reached} of {ranked.time.trainings}"
    return (*cells, Cell(reached, float(ranked.time.reached))) if several else cells


def time_cell(one: QualityTime, measured: MeasuredTime | None) -> Cell:
    """Return the time to the target in ms, by the measure that ranks where none is given.

    Only a value sorts; a bound, and what is reached in some trainings only, sort as text.
    """
    time = (measured or one.ranked).time
    if time.state == NOT_MEASURED:
        return dash(*time.notes)
    if time.state == NOT_REACHED:
        best = "" if math.isnan(one.best_fid) else f", best FID {format_number(one.best_fid)}"
        return Cell(f"not reached{best}", "", time.notes)

    if time.state == PARTLY:
        return Cell(f"reached in {time.reached} of {time.trainings} trainings", "", time.notes)

    # a time
    text = format_number(time.seconds * 1e3)
    if not (math.isnan(time.low) and math.isnan(time.high)) or time.notes:
        ends = (DASH if math.isnan(end) else format_number(end * 1e3) for end in (time.low, time.high))
        text += f" [{', '.join(ends)}]"
    notes = [*time.notes, *((BELOW_LIMIT,) if one.below_limit else ()), *((DISTURBED,) if time.disturbed else ())]

    if time.state == AT_SMALLEST:
        end = "" if math.isnan(time.high) else f" [{DASH}, {format_number(time.high * 1e3)}]"
        return Cell(f"≤ {format_number(time.seconds * 1e3)}{end}", "", tuple(notes))
    return Cell(text, time.seconds, tuple(notes))


def ratio_cell(ratio: TimeRatio, below_limit: bool) -> Cell:
    """Return the ratio; one that is only bounded does not sort."""
    if math.isnan(ratio.value):
        return dash(ratio.note)
    ends = ", ".join(DASH if math.isnan(end) else format_number(end) for end in (ratio.low, ratio.high))
    text = f"{_SIGNS[ratio.sign]}{format_number(ratio.value)}× [{ends}]"
    notes = (ratio.note, BELOW_LIMIT if below_limit else "")
    return Cell(text, "" if ratio.sign else ratio.value, tuple(note for note in notes if note))
