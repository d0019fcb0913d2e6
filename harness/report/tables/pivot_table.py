"""The main table: a line per method on a network, FID by evaluations, the network's limit, time to each target."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from pandas import Series

from harness.report.analysis.limits import BELOW_LIMIT
from harness.report.analysis.method_lines import MethodLine
from harness.report.analysis.pivot import build_pivot, stands_elsewhere
from harness.report.analysis.time_to_quality import ClassQuality
from harness.report.formats import DASH, format_count, format_number
from harness.report.tables.cells import Cell, Heading, Table, interval_text, marked_cell, number_cell
from harness.report.tables.limit_cell import limit_cell
from harness.report.tables.target_table import time_cell

_TRIAL_KEYS = ("trial", "steps", "nfe", "fid", "latency_seconds", "throughput_images_per_second")


def pivot_table(
    quality: ClassQuality,
    parallel: bool,
    cells_by_trial: Mapping[str, Mapping[str, Cell]],
    controls: Mapping[str, Cell],
) -> Table:
    """Return the main table of the serial or of the parallel lines.

    `cells_by_trial` holds a trial's cells by column key; they unfold below its method.
    `controls` holds a trial's difference from its control, shown for a line of one step count, which has no curve.
    """
    lines = quality.parallel if parallel else quality.serial
    pivot = build_pivot(list(lines))
    unit = "Latency (ms)" if parallel else "ms/image"
    at = "steps" if parallel else "evaluations"
    of_line = {line.name: _control_cell(line, controls) for line in lines}
    claimed = any(cell.text for cell in of_line.values())

    headings = (
        Heading("method", "Method", words=True),
        Heading("network_limit_fid", "Network's limit (FID)"),
        *(Heading(f"fid_{column}", f"FID at {column} {at}") for column in pivot.columns),
        *(Heading(f"time_{target}", f"{unit} to FID {format_count(target)}") for target in quality.targets),
        *((Heading("control", "Against its control", words=True),) if claimed else ()),
    )

    most = max((row["trainings"] for one in pivot.lines for row in one.cells if row is not None), default=1)
    rows = []
    for one in pivot.lines:
        times = [time_cell(quality.times[one.line.name, target], None) for target in quality.targets]
        fids = [
            _fid_cell(row, column, parallel, quality, most)
            for row, column in zip(one.cells, pivot.columns, strict=True)
        ]
        rows.append((
            _method_cell(one.line, quality, cells_by_trial), limit_cell(quality, one.line.network), *fids,
            *times, *((of_line[one.line.name],) if claimed else ()),
        ))  # fmt: skip
    return Table(_title(quality, parallel), _conditions(quality, parallel), headings, tuple(rows))


def _control_cell(line: MethodLine, controls: Mapping[str, Cell]) -> Cell:
    """Return the difference from the control of a line's only row; a line of several rows has a curve instead."""
    return controls.get(line.rows["trial_id"].iloc[0], Cell("")) if len(line.rows) == 1 else Cell("")


def _title(quality: ClassQuality, parallel: bool) -> str:
    what = "Parallel executors: FID by steps" if parallel else "FID by evaluations"
    if not quality.targets:
        return what
    return f"{what}, and {'latency' if parallel else 'time per image'} to a FID"


def _conditions(quality: ClassQuality, parallel: bool) -> tuple[str, ...]:
    """Return what a reader has to know: the columns, the limit, the order."""
    if parallel:
        columns = "Columns are steps of the serial run that is computed; evaluations made ahead are not counted here."
    else:
        columns = (
            "Columns are evaluations of the network per image. A row of another NFE stands under the nearest column "
            "within a quarter and names its NFE."
        )
        if any(line.rows["nfe"].isna().any() for line in quality.serial):
            columns += " A row whose evaluations are not seen stands under its steps."
    limit = _limit_condition(quality, parallel)
    if not quality.targets:
        order = "Lines stand by their best FID. The suite names no FID targets, so there is no time to quality."
        return (columns + " A dash: the suite has no such row.", limit, order)

    time = "Latency of one image alone" if parallel else "Time per image at the throughput batch"
    order = (
        f"{time}, read on the method's own curve; ≤: reached at its smallest step count, a bound without a rank. "
        "Lines stand by the tightest target that they reach, then by the time to it, then by their best FID."
    )
    return (columns + " A dash: the suite has no such row.", limit, order)


def _limit_condition(quality: ClassQuality, parallel: bool) -> str:
    """Return what the column of limits holds, and of which networks it holds none."""
    networks = sorted({line.network for line in (quality.parallel if parallel else quality.serial)})
    unknown = [name for name in networks if name not in quality.limits]
    meaning = (
        "The network's limit is its FID as trained, whole, and solved out, where the sampler's error is gone, from its "
        "zoo card; a tuned or narrowed network has the same."
    )
    if not unknown:
        return meaning
    of = "" if len(unknown) == len(networks) else f" of {', '.join(unknown)}"
    return f"{meaning} No card here{of} has these features and as many images, so the limit is unknown."


def _method_cell(line: MethodLine, quality: ClassQuality, cells_by_trial: Mapping[str, Mapping[str, Cell]]) -> Cell:
    role = " (baseline)" if line.name == quality.baseline else ""
    headings = (
        Heading("trial", "Trial", words=True), Heading("steps", "Steps"), Heading("nfe", "NFE"), Heading("fid", "FID"),
        Heading("latency_seconds", "Latency (ms)"), Heading("throughput_images_per_second", "Images/s"),
    )  # fmt: skip
    rows = []
    for _, row in line.rows.iterrows():
        known = {"steps": number_cell(row["steps"], f"{row['steps']:.0f}"), **cells_by_trial[row["trial_id"]]}
        rows.append(tuple(Cell(known[key].text, known[key].value) for key in _TRIAL_KEYS))
    marked = marked_cell(line.name + role, line.name, line.rows["reproduced"].iloc[0])
    return replace(marked, unfolds=Table(line.name, (), headings, tuple(rows)))


def _fid_cell(row: Series | None, column: int, parallel: bool, quality: ClassQuality, most: float) -> Cell:
    """Return the FID; a footnote where it is over fewer than `most` trainings."""
    if row is None or math.isnan(row["fid"]):
        return Cell(DASH)
    text = interval_text(row["fid"], row["fid_low"], row["fid_high"])
    if stands_elsewhere(row, column, parallel):
        text += f" (NFE {format_number(row['nfe'])})"
    count = row["trainings"]
    fewer = f"over {count:.0f} training{'' if count == 1 else 's'}" if count < most else ""
    return number_cell(row["fid"], text, BELOW_LIMIT if row["trial_id"] in quality.below_limit else "", fewer)
