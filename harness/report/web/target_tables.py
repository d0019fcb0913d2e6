"""Time to quality as one table: a column per target, with the gain over the baseline as a bar."""

from __future__ import annotations

import math
from typing import Any

from harness.report.analysis.method_curve import LATENCY, THROUGHPUT
from harness.report.analysis.method_lines import MethodLine
from harness.report.analysis.target_time import NOT_MEASURED, NOT_REACHED, PARTLY
from harness.report.analysis.time_to_quality import ClassQuality, QualityTime
from harness.report.formats import DASH, format_count, format_number
from harness.report.leaderboard import Leaderboard
from harness.report.tables.cells import Cell, marked_cell, number_cell
from harness.report.tables.limit_cell import limit_cell
from harness.report.tables.target_table import TIES_WITH_RANK_1, ratio_cell, time_cell
from harness.report.web.page_cells import Notes, PageColumn, cell_data
from harness.report.web.trial_columns import SENTENCES

NAME = PageColumn(
    "name", "Method", "Network and method. Enter or a click unfolds all that is known of its times to the targets.",
    shown=True, words=True, card=True,
)  # fmt: skip
BEST = PageColumn("best_fid", "Best FID", "The lowest FID of the method's trials.", shown=True, card=True)
LIMIT = PageColumn("network_limit_fid", "Network's limit (FID)", SENTENCES["network_limit_fid"], shown=True)
STEPS = PageColumn("steps", "Read at steps", "Step counts between which the time to the target was read.")
COSTLESS = PageColumn("over_costless", "Over the best free schedule", "Time to the target of the best schedule that "
                      "costs nothing, under the baseline's solver, over the method's.")  # fmt: skip
BASELINE = PageColumn("over_baseline", "Over the baseline", "Time to the target of the suite's baseline over the "
                      "method's; the bar shows it.")  # fmt: skip
RANK = PageColumn("rank", "Rank", "Place among the methods whose time to the target is a value; a bound (≤) has none.")
MS = PageColumn("throughput", "ms/image", "Time per image at the throughput batch, read on the method's own curve.")
LATENCY_MS = PageColumn("latency", "Latency (ms)", SENTENCES["latency_seconds"])
TARGET = PageColumn("target", "FID target", SENTENCES["fid_targets"])
DETAILS = (TARGET, RANK, MS, LATENCY_MS, STEPS, COSTLESS, BASELINE)
"""Columns of what unfolds below a method."""


def targets_data(board: Leaderboard) -> list[dict[str, Any]]:
    """Return a table per class and kind of executor; none where the suite names no targets."""
    tables: list[dict[str, Any]] = []
    for place, one in enumerate(board.classes):
        for lines in (one.quality.serial, one.quality.parallel):
            if lines and one.quality.targets:
                tables.append(_target_table(f"targets-{len(tables)}", place, one.quality, lines))
    return tables


def target_columns(parallel: bool, targets: tuple[float, ...]) -> tuple[PageColumn, ...]:
    """Return the columns of a table of times to quality."""
    what = "Latency (ms)" if parallel else "ms/image"
    measure = "Latency of one image alone" if parallel else "Time per image at the throughput batch"
    found = []
    for target in targets:
        text = f"{what} to FID {format_count(target)}"
        sentence = (
            f"{measure}, read on the method's own curve where it reaches FID {format_count(target)}. ≤: reached at "
            "its smallest step count, a bound. Below it, as a bar, the baseline's time over the method's; the line "
            "in the bar is 1×."
        )
        found.append(PageColumn(f"time_{target}", text, sentence, shown=True, card=True))
    return (NAME, *found, BEST, LIMIT)


def _target_table(table_id: str, place: int, quality: ClassQuality, lines: tuple[MethodLine, ...]) -> dict[str, Any]:
    parallel, notes = lines[0].parallel, Notes()
    columns = target_columns(parallel, quality.targets)
    largest = {target: _largest_ratio(quality, lines, target) for target in quality.targets}

    rows = []
    for line in lines:
        times = [quality.times[line.name, target] for target in quality.targets]
        best = times[0].best_fid
        fid = Cell(DASH) if math.isnan(best) else number_cell(best, format_number(best))
        cells = [
            cell_data(marked_cell(line.name, line.name, line.rows["reproduced"].iloc[0]), notes),
            *(_bar_data(time, largest[time.target], line.name == quality.baseline, notes) for time in times),
            *(cell_data(cell, notes) for cell in (fid, limit_cell(quality, line.network))),
        ]
        details = [[cell_data(cell, notes) for cell in _detail_cells(time)] for time in times]
        rows.append({"name": line.name, "baseline": line.name == quality.baseline, "cells": cells, "details": details})

    # what a reader has to know
    costless = next((one.ranked.costless for one in quality.times.values() if one.ranked.costless), "")
    condition = (
        f"Baseline: {quality.baseline or f'it {quality.no_baseline}'}. Best free schedule under its solver: "
        f"{costless or 'none reaches a target'}. Ratios are paired where both methods reach the target."
    )
    what = "Latency to quality, of parallel executors" if parallel else "Time to quality"
    return {
        "id": table_id, "kind": "targets", "class": place, "title": what, "conditions": [condition],
        "columns": [column.as_data() for column in columns], "rows": rows, "notes": notes.texts,
        "details": [column.as_data() for column in DETAILS],
    }  # fmt: skip


def _largest_ratio(quality: ClassQuality, lines: tuple[MethodLine, ...], target: float) -> float:
    """Return the largest gain over the baseline, 1 at least: the length of a whole bar."""
    ratios = (quality.times[line.name, target].ranked.over_baseline.value for line in lines)
    return max([1.0, *(ratio for ratio in ratios if not math.isnan(ratio))])


def _bar_data(time: QualityTime, largest: float, baseline: bool, notes: Notes) -> list[Any]:
    """Return a cell with the kind of its result, the ratio's text and the bar's and the mark's share of its width."""
    tie = (TIES_WITH_RANK_1,) if time.ties_with_rank_1 else ()
    cell, ratio = time_cell(time, None), time.ranked.over_baseline
    data = cell_data(Cell(cell.text, cell.value, (*cell.notes, *tie)), notes) or [DASH, None]
    filled = [*data, []] if len(data) == 2 else data
    if time.ranked.time.state in (NOT_REACHED, NOT_MEASURED, PARTLY):
        return [*filled, {"missed": True}]
    if baseline:
        return [*filled, {"ratio": "1×, the baseline", "share": round(1 / largest, 4), "one": round(1 / largest, 4)}]
    if math.isnan(ratio.value):
        return filled

    text = ratio_cell(ratio, False).text
    return [*filled, {"ratio": text, "share": round(ratio.value / largest, 4), "one": round(1 / largest, 4)}]


def _detail_cells(time: QualityTime) -> tuple[Cell, ...]:
    ranked = time.ranked
    steps = " to ".join(f"{step:.0f}" for step in dict.fromkeys((*ranked.time.steps[:1], *ranked.time.steps[-1:])))
    return (
        Cell(format_count(time.target)),
        Cell(DASH if time.rank is None else str(time.rank)),
        time_cell(time, time.by_measure[THROUGHPUT.name]),
        time_cell(time, time.by_measure[LATENCY.name]),
        Cell(steps or DASH),
        ratio_cell(ranked.over_costless, time.below_limit),
        ratio_cell(ranked.over_baseline, time.below_limit),
    )
