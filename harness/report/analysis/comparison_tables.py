"""Pairs of rows as tables of text and as CSV."""

from __future__ import annotations

import csv
import io
import math

from pandas import Series

from harness.report.analysis.comparisons import CONTROL, WHOLE, WHOLE_TUNED, Comparison
from harness.report.formats import DASH, Section, escape_csv, format_interval, format_number, format_work

_CSV_COLUMNS = (
    "kind", "trial_id", "network", "method", "steps", "nfe", "other_trial_id", "other_network", "other_method", "fid",
    "other_fid", "fid_difference", "fid_difference_low", "fid_difference_high", "truncation_error",
    "other_truncation_error", "truncation_difference", "truncation_difference_low", "truncation_difference_high",
    "parameters_ratio", "flops_ratio", "time_ratio", "time_ratio_low", "time_ratio_high", "flops_to_time_yield",
    "finding",
)  # fmt: skip


def whole_network_table(pairs: list[Comparison]) -> Section:
    """Return per row what leaving out a part of the network saved and what it cost.

    A tuned row has two lines where the suite has the whole network tuned as long.
    """
    several = _count_networks(pairs) > 1
    rows = [
        (
            _name(pair.row) + _network_suffix(pair.row, several),
            "as trained" if pair.kind == WHOLE else f"tuned as long: {pair.other['method']}",
            _ranged(pair.row["fid"], pair.row["fid_low"], pair.row["fid_high"]),
            _plus_minus(pair.difference, pair.difference_half),
            _plain(pair.flops),
            _ranged(pair.time, pair.time_low, pair.time_high),
            _plain(pair.flops_yield),
            pair.finding,
        )
        for pair in pairs
        if pair.kind in (WHOLE, WHOLE_TUNED)
    ]

    headings = ("Trial", "Whole network", "FID", "FID minus that of the whole network", "FLOPs ratio", "Time ratio",
                "FLOPs-to-time yield", "Finding")  # fmt: skip
    return Section(headings, rows)


def controls_table(pairs: list[Comparison]) -> Section:
    """Return each claim with the control that it must beat."""
    several = _count_networks(pairs) > 1

    rows = [
        (
            # names, FIDs, ratios, finding
            _name(pair.row) + _network_suffix(pair.row, several),
            pair.other["method"] + _network_suffix(pair.other, several),
            _plain(pair.row["fid"]),
            _plain(pair.other["fid"]),
            _plus_minus(pair.difference, pair.difference_half),
            _plain(pair.parameters),
            _plain(pair.flops),
            _ranged(pair.time, pair.time_low, pair.time_high),
            _plus_minus(pair.truncation, pair.truncation_half),
            pair.verdict,
        )
        for pair in pairs
        if pair.kind == CONTROL
    ]

    headings = ("Trial", "Control", "FID", "FID of the control", "Difference", "Parameters ratio", "FLOPs ratio",
                "Time ratio", "Difference in truncation error", "Finding")  # fmt: skip
    return Section(headings, rows)


def comparisons_csv(pairs: list[Comparison]) -> str:
    """Return every pair with its numbers in full; a cell is empty where nothing was measured."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(_CSV_COLUMNS)
    writer.writerows(_csv_row(pair) for pair in pairs)
    return stream.getvalue()


def _csv_row(pair: Comparison) -> list[str]:
    row, other = pair.row, pair.other
    numbers = (
        row["fid"], other["fid"], pair.difference, pair.difference - pair.difference_half,
        pair.difference + pair.difference_half, row["truncation_error"], other["truncation_error"],
        pair.truncation, pair.truncation - pair.truncation_half, pair.truncation + pair.truncation_half,
        pair.parameters, pair.flops, pair.time, pair.time_low, pair.time_high, pair.flops_yield,
    )  # fmt: skip

    return [
        pair.kind, row["trial_id"], escape_csv(row["network"]), escape_csv(row["method"]), f"{row['steps']:.0f}",
        repr(float(row["nfe"])), other["trial_id"], escape_csv(other["network"]), escape_csv(other["method"]),
        *(repr(float(value)) if value == value else "" for value in numbers),
        pair.verdict if pair.kind == CONTROL else pair.finding,
    ]  # fmt: skip


def _plus_minus(value: float, half: float) -> str:
    return _ranged(value, value - half, value + half)


def _ranged(value: float, low: float, high: float) -> str:
    return DASH if math.isnan(value) else f"{format_number(value)} {format_interval(low, high)}".strip()


def _plain(value: float) -> str:
    return DASH if math.isnan(value) else format_number(value)


def _count_networks(pairs: list[Comparison]) -> int:
    return len({one["network"] for pair in pairs for one in (pair.row, pair.other)})


def _network_suffix(row: Series, several: bool) -> str:
    """Return the row's network, where the pairs have several."""
    return f" @ {row['network']}" if several else ""


def _name(row: Series) -> str:
    return f"{row['method']}, {format_work(row['nfe'], row['steps'])}"
