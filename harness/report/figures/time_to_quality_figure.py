"""The figure of time to quality: how long each method takes to a FID target, a panel per target."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pandas import DataFrame, Series

from harness.report.analysis.derive import ResourceClass
from harness.report.figures.dot_plot import Dot, plot_dots
from harness.report.figures.plot_labels import wrap_name
from harness.report.figures.plot_style import GREY, Look, add_note, fix_layout, new_figure
from harness.report.figures.quality_marks import class_looks
from harness.report.formats import format_number, one_line

REACHED, AT_MOST, NOT_REACHED = "reached", "at most", "not reached"
MOST_REACHING, MOST_OTHERS = 12, 6
_NAME = 36
"""Characters of a method's name in a line."""
_BOUND_REMARK = "open: ≤, reached at the smallest step count that was run"


def draw_time_to_quality(one: ResourceClass, times: Mapping[float, DataFrame]) -> Figure | None:
    """Draw the time of each method to each FID target, a panel per target; None without targets.

    `times`: per target a row per method with the columns of `plot_time_to_target`.
    """
    # data
    shown = {target: table for target, table in times.items() if len(table)}
    if not shown:
        return None
    looks = class_looks(one)
    heights = [_count_lines(table) for table in shown.values()]

    # axes and marks
    figure, panels = new_figure(8.4, 1.2 + 0.75 * len(shown) + 0.27 * sum(heights), rows=len(shown), heights=heights)
    for axes, (target, table) in zip(panels, shown.items(), strict=True):
        plot_time_to_target(axes, table, looks, target)

    # labels
    add_note(figure, "95 % intervals; a method's own curve of FID against time, never extrapolated")
    fix_layout(figure)
    return figure


def fid_targets(one: ResourceClass) -> list[float]:
    """Return the suite's FID targets of a class, loosest first; none where its rows state none."""
    texts = sorted(set(one.rows.get("fid_targets", Series(dtype=object)).dropna()) - {""})
    return [float(target) for target in json.loads(texts[0])] if texts else []


def plot_time_to_target(axes: Axes, table: DataFrame, looks: Mapping[str, Look], target: float) -> None:
    """Plot a line per method, the fastest on top; those that do not reach the target follow in grey.

    Columns of `table`: method, network, name, state, seconds (per image) with low and high, best_fid,
    rank (NaN for what is no value).
    A measured point at the smallest step count is open: the method may be faster.
    """
    dots = [_to_dot(row, looks, table["network"].nunique() > 1) for _, row in _choose_rows(table).iterrows()]
    plot_dots(axes, dots, heading="not reached")

    # labels
    left = len(table) - len(dots)
    more = f"; {left} more in the tables" if left else ""
    remark = f"\n{_BOUND_REMARK}" if (table["state"] == AT_MOST).any() else ""
    axes.set_xlabel(f"Time per image in a batch (ms){remark}{more}", loc="right")
    axes.set_title(f"Which method reaches FID {target:g} soonest?")


def _choose_rows(table: DataFrame) -> DataFrame:
    """Return the rows that are drawn, in their order from top to bottom; the suite's baseline stays."""
    reaching = table[table["state"] != NOT_REACHED].sort_values(["seconds", "name"], kind="stable")
    others = table[table["state"] == NOT_REACHED].sort_values(["best_fid", "name"], kind="stable")
    baseline = table.get("is_baseline", Series(False, table.index)).astype(bool)
    kept = [
        *reaching.index[(np.arange(len(reaching)) < MOST_REACHING) | baseline[reaching.index]],
        *others.index[(np.arange(len(others)) < MOST_OTHERS) | baseline[others.index]],
    ]
    return table.loc[kept]


def _to_dot(row: Series, looks: Mapping[str, Look], several: bool) -> Dot:
    series = one_line(f"{row['method']} @ {row['network']}" if several else str(row["method"]))
    look = looks.get(series, GREY)
    name = wrap_name(one_line(str(row["name"])) or series, _NAME)
    if row["state"] == NOT_REACHED:
        return Dot(name, look, remark=f"best FID {format_number(row['best_fid'])}")

    low, high = 1e3 * row["low"], 1e3 * row["high"]
    if row["state"] == AT_MOST:
        return Dot(name, look, 1e3 * row["seconds"], low, high, bound="o", remark="≤")
    rank = "" if row["rank"] != row["rank"] else f"{row['rank']:.0f}"
    return Dot(name, look, 1e3 * row["seconds"], low, high, remark=rank)


def _count_lines(table: DataFrame) -> int:
    """Return how many lines of the plot a table needs: those drawn, and a heading."""
    return len(_choose_rows(table)) + 2
