"""The pivot and the times to quality as CSV: numbers in full, times in seconds per image."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

from harness.report.analysis.method_curve import MEASURES
from harness.report.analysis.method_lines import MethodLine
from harness.report.analysis.pivot import build_pivot
from harness.report.analysis.time_to_quality import MeasuredTime, rank_order
from harness.report.formats import format_csv_value
from harness.report.leaderboard import ClassTables, Leaderboard

_LINE = ("class", "name", "network", "method", "executor")
_PIVOT_COLUMNS = (
    *_LINE, "column", "trial_id", "steps", "nfe", "fid", "fid_low", "fid_high", "trainings", "below_limit",
    "network_limit_fid", "network_limit_fid_low", "network_limit_fid_high",
)  # fmt: skip
_MEASURED = (
    "state", "seconds", "seconds_low", "seconds_high", "steps", "trainings_reached", "trainings", "disturbed",
    "costless", "over_costless", "over_costless_low", "over_costless_high", "over_costless_sign", "over_costless_note",
    "over_baseline", "over_baseline_low", "over_baseline_high", "over_baseline_sign", "over_baseline_note", "notes",
)  # fmt: skip
_TIME_COLUMNS = (
    *_LINE, "target", "ranked_by", "rank", "ties_with_rank_1", "best_fid", "below_limit",
    *(f"{measure.name}_{column}" for measure in MEASURES for column in _MEASURED),
)  # fmt: skip


def pivot_csv(board: Leaderboard) -> str:
    """Return a line per filled cell of the main tables."""
    rows = []
    for one in board.classes:
        for lines in (one.quality.serial, one.quality.parallel):
            pivot = build_pivot(list(lines))
            for found in pivot.lines:
                limit = one.quality.limits.get(found.line.network)
                limits = (limit.fid, limit.low, limit.high) if limit else ("",) * 3
                rows += [
                    (*_line_columns(one, found.line), column, row["trial_id"], row["steps"], row["nfe"], row["fid"],
                     row["fid_low"], row["fid_high"], f"{row['trainings']:.0f}",
                     row["trial_id"] in one.quality.below_limit, *limits)
                    for column, row in zip(pivot.columns, found.cells, strict=True) if row is not None
                ]  # fmt: skip
    return _write_csv(_PIVOT_COLUMNS, rows)


def time_to_quality_csv(board: Leaderboard) -> str:
    """Return a line per method, network and target, with both measures of time."""
    rows = []
    for one in board.classes:
        for lines in (one.quality.serial, one.quality.parallel):
            for target in one.quality.targets:
                for time in sorted((one.quality.times[line.name, target] for line in lines), key=rank_order):
                    rows.append((
                        *_line_columns(one, time.line), target, time.ranked.measure.name, time.rank,
                        time.ties_with_rank_1, time.best_fid, time.below_limit,
                        *(v for m in MEASURES for v in _measured_columns(time.by_measure[m.name])),
                    ))  # fmt: skip
    return _write_csv(_TIME_COLUMNS, rows)


def _line_columns(one: ClassTables, line: MethodLine) -> tuple[str, ...]:
    return one.title, line.name, line.network, line.method, "parallel" if line.parallel else "serial"


def _measured_columns(measured: MeasuredTime) -> tuple[object, ...]:
    time = measured.time
    ratios = [
        value
        for ratio in (measured.over_costless, measured.over_baseline)
        for value in (ratio.value, ratio.low, ratio.high, ratio.sign, ratio.note)
    ]
    steps = " ".join(f"{step:.0f}" for step in time.steps)
    return (time.state, time.seconds, time.low, time.high, steps, time.reached, time.trainings, time.disturbed,
            measured.costless, *ratios, "; ".join(time.notes))  # fmt: skip


def _write_csv(columns: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([format_csv_value(value) for value in row] for row in rows)
    return stream.getvalue()
