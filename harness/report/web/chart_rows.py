"""The points of the interactive chart: one per ranked row of the first class, with its figures and their texts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pandas import DataFrame, Series

from harness.report.analysis.pareto import pareto_front
from harness.report.formats import axis_label, format_count, format_interval, format_number

BASELINE = "baseline"
"""What colors the points of the suite's baseline, in place of a family."""


@dataclass(frozen=True)
class Axis:
    """One quantity that the chart can show: its key, the switch's word, the axis title, its column and unit."""

    key: str
    word: str
    title: str
    column: str
    scale: float
    before: str
    """What stands before the number, and what after it."""
    unit: str
    ends: tuple[str, str] | None
    """The columns of its 95 % interval."""


def _ended(column: str) -> tuple[str, str]:
    return f"{column}_low", f"{column}_high"


COSTS = (
    Axis("time", "time", "Time per image in a batch (ms)", "pooled_seconds_per_image", 1e3,
         "", "ms an image in a batch", _ended("pooled_seconds_per_image")),
    Axis("latency", "latency", "Latency of one image alone (ms)", "pooled_latency_seconds", 1e3,
         "", "ms for one alone", _ended("pooled_latency_seconds")),
    Axis("flops", "FLOPs", "GFLOPs per image, 2 per multiply-add", "flops_per_image", 1e-9,
         "", "GFLOPs an image", None),
    Axis("nfe", "evaluations", "Network evaluations per image", "nfe", 1.0,
         "", "evaluations an image", None),
)  # fmt: skip
QUALITIES = (
    Axis("fid", "FID", axis_label("fid"), "fid", 1.0,
         "FID", "", _ended("fid")),
    Axis("error", "fidelity", axis_label("truncation_error"), "truncation_error", 1.0,
         "truncation error", "", _ended("truncation_error")),
)  # fmt: skip


def chart_points(rows: DataFrame) -> list[dict[str, Any]]:
    """Return a record per row with `page_name`: names, family, and every axis with its interval.

    A figure that is no positive number is left out, as a log axis cannot show it.
    """
    records = []
    fronts = _fronts(rows)
    for place, (_, row) in enumerate(rows.iterrows()):
        record: dict[str, Any] = {
            "name": row["page_name"],
            "line": f"{row['network']}:{row['method']}",
            "family": row["family"],
            "hue": BASELINE if row["is_baseline"] else row["family"],
            "facts": _facts(row),
        }
        for axis in (*COSTS, *QUALITIES):
            record |= _numbers(row, axis)
        record |= {key: True for key, front in fronts.items() if front[place]}
        records.append(record)
    return records


def _numbers(row: Series, axis: Axis) -> dict[str, float]:
    value = float(row[axis.column]) * axis.scale
    if not (value > 0 and math.isfinite(value)):
        return {}
    found = {axis.key: _short(value)}
    low, high = (float(row[end]) * axis.scale for end in axis.ends) if axis.ends else (math.nan, math.nan)
    if low <= value <= high:
        found |= {f"{axis.key}_low": _short(max(low, value * 1e-3)), f"{axis.key}_high": _short(high)}
    return found


def _short(value: float) -> float:
    return float(f"{value:.5g}")


def _fronts(rows: DataFrame) -> dict[str, np.ndarray]:
    """Return by front_COST_QUALITY which rows no other one beats in both."""
    return {
        front_field(cost, quality): pareto_front(rows[cost.column].to_numpy(), rows[quality.column].to_numpy())
        for cost in COSTS
        for quality in QUALITIES
    }


def front_field(cost: Axis, quality: Axis) -> str:
    """Return the name of the flag of points on the front of two axes."""
    return f"front_{cost.key}_{quality.key}"


def _facts(row: Series) -> list[str]:
    """Return what the page shows of a point: quality, costs, speed-up."""
    found = [text for axis in (*QUALITIES, *COSTS) if (text := _fact(row, axis))]
    if not math.isnan(row["equal_quality_speedup"]):
        ends = format_interval(row["equal_quality_speedup_low"], row["equal_quality_speedup_high"])
        found.append(f"{format_number(row['equal_quality_speedup'])} times {ends} as fast as the baseline at its FID")
    return found


def _fact(row: Series, axis: Axis) -> str:
    """Return the row's figure of an axis with its interval and unit; empty where it was not measured."""
    value = float(row[axis.column]) * axis.scale
    if math.isnan(value):
        return ""
    low, high = (float(row[end]) * axis.scale for end in axis.ends) if axis.ends else (math.nan, math.nan)
    number = format_number(value) if axis.ends else format_count(value)
    return " ".join(part for part in (axis.before, number, format_interval(low, high), axis.unit) if part)


def log_ticks(low: float, high: float, most: int = 9) -> list[float]:
    """Return round numbers within a range of positive ends, for a log axis: at least two where they exist."""
    for digits in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7), (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9)):
        decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        ticks = [float(f"{digit * 10.0**decade:.6g}") for decade in decades for digit in digits]
        inside = [tick for tick in ticks if low <= tick <= high]
        if len(inside) >= 4:
            return inside[:: -(-len(inside) // most)]
    return inside


def axis_domain(records: Sequence[dict[str, Any]], key: str) -> tuple[float, float]:
    """Return the ends of a log axis: all points, and some room around them; intervals may be cut there."""
    values = [record[key] for record in records if key in record]
    low, high = min(values), max(values)
    room = max((high / low) ** 0.07, 1.08)
    return low / room, high * room
