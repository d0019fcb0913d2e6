"""The figure of time to quality: how long each method takes to a FID target, a panel per target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pandas import DataFrame, Series

from harness.report.analysis.derive import ResourceClass
from harness.report.analysis.limits import BELOW_LIMIT
from harness.report.figures.dot_plot import Dot, count_lines, plot_dots
from harness.report.figures.limit_marks import BELOW_MARK
from harness.report.figures.margin_labels import break_name
from harness.report.figures.plot_style import add_note, add_question, fix_layout, new_figure
from harness.report.figures.quality_marks import DISTURBED, named_looks
from harness.report.figures.series_looks import GREY, Look
from harness.report.formats import format_number, one_line

REACHED, AT_MOST, NOT_REACHED = "reached", "at most", "not reached"
MOST = 12, 6
"""Rows that reach a target, and others, that a panel shows."""
COLUMNS = (
    "method", "network", "name", "state", "seconds", "low", "high", "best_fid", "rank", "is_baseline", "is_below",
    "is_disturbed", "note",
)  # fmt: skip
_NAME = 40
"""Characters of a method's name in a line."""
_OPEN_REMARK = "arrow: that end of the interval lies beyond the curve"
_BOUND_REMARK = "open mark: ≤, reached at the smallest step count that was run"


def draw_time_to_quality(one: ResourceClass, times: Mapping[float, DataFrame]) -> Figure | None:
    """Draw the time of each method to each FID target, a panel per target that any reaches; None without one.

    `times`: per target a row per method with the columns of `plot_time_to_target`.
    """
    # data
    shown = {target: times[target] for target in reached_targets(times)}
    if not shown:
        return None
    looks = named_looks(one)
    dots = {target: time_dots(table, looks) for target, table in shown.items()}
    heights = [count_lines(lines) + 2 for lines in dots.values()]

    # axes and marks
    figure, panels = new_figure(8.8, 1.2 + 0.75 * len(shown) + 0.2 * sum(heights), rows=len(shown), heights=heights)
    for axes, (target, lines) in zip(panels, dots.items(), strict=True):
        plot_time_to_target(axes, lines)
        axes.set_title(f"FID {target:g}")

    # labels
    add_question(figure, "Which method reaches a FID soonest?")
    notes = [note for target, table in shown.items() for note in time_notes(table, dots[target], f" at FID {target:g}")]
    read = "95 % intervals; each time is read on the method's own curve of FID against time, never extrapolated"
    add_note(figure, "; ".join(dict.fromkeys([read, *notes])))
    fix_layout(figure)
    return figure


def reached_targets(times: Mapping[float, DataFrame]) -> list[float]:
    """Return the targets, loosest first, that at least one method reaches."""
    return [target for target, table in times.items() if (table["state"] != NOT_REACHED).any()]


def plot_time_to_target(axes: Axes, dots: Sequence[Dot]) -> None:
    """Plot the rows of `time_dots`; those that do not reach the target stand below a line."""
    plot_dots(axes, dots, heading="not reached")
    axes.set_xlabel("Time per image in a batch (ms)", loc="right")


def time_dots(
    table: DataFrame, looks: Mapping[str, Look], most: tuple[int, int] = MOST, width: int = _NAME
) -> list[Dot]:
    """Return a row per method, the fastest first; those that do not reach the target follow by best FID.

    Columns of `table`: COLUMNS, `seconds` per image with `low` and `high`, `rank` NaN for what is no value.
    A measured point at the smallest step count is open: the method may be faster.
    Of those that reach the target, and of the others, so many as `most` says are shown; the suite's baseline stays.
    A name has about `width` characters in a line.
    """
    return [_to_dot(row, looks, width) for _, row in _choose_rows(table, most).iterrows()]


def time_notes(table: DataFrame, dots: Sequence[Dot], where: str = "", most: tuple[int, int] = MOST) -> list[str]:
    """Return what the marks of a plot mean, and how many rows are left out, with the words `where`."""
    shown = _choose_rows(table, most)
    notes = [_BOUND_REMARK] if (shown["state"] == AT_MOST).any() else []
    reaching = shown[shown["state"] != NOT_REACHED]
    is_open = reaching["high"].isna() | (reaching["low"].isna() & (reaching["state"] == REACHED))
    notes += [_OPEN_REMARK] if is_open.any() else []
    notes += [f"{BELOW_MARK} {BELOW_LIMIT}"] if shown["is_below"].any() else []
    notes += [DISTURBED] if shown["is_disturbed"].any() else []
    return [*notes, f"{len(table) - len(dots)} more{where}, in the tables"] if len(table) > len(dots) else notes


def _choose_rows(table: DataFrame, most: tuple[int, int]) -> DataFrame:
    """Return the rows that are drawn, in their order from top to bottom; the suite's baseline stays."""
    reaching = table[table["state"] != NOT_REACHED].sort_values(["seconds", "name"], kind="stable")
    others = table[table["state"] == NOT_REACHED].sort_values(["best_fid", "name"], kind="stable")
    kept = [
        part[(np.arange(len(part)) < number) | part["is_baseline"].astype(bool)]
        for part, number in zip((reaching, others), most, strict=True)
    ]
    return table.loc[[*kept[0].index, *kept[1].index]]


def _to_dot(row: Series, looks: Mapping[str, Look], width: int) -> Dot:
    """Return the dot of a method; its name begins with its rank, where it has one.

    The network is left out where no series of the class has it.
    """
    series = [one_line(f"{row['network']}:{row['method']}"), one_line(str(row["method"]))]
    look = next((looks[name] for name in series if name in looks), GREY)
    mark = BELOW_MARK if row["is_below"] else ""
    number = "" if row["rank"] != row["rank"] else f"{row['rank']:.0f}. "
    full = one_line(str(row["name"]))
    short = full if series[0] in looks or series[1] not in looks else full.removeprefix(f"{one_line(row['network'])}:")
    name = break_name(number + short, width) + mark
    if row["state"] == NOT_REACHED:
        return Dot(name, look, remark=f"{row['note']}best FID {format_number(row['best_fid'])}")

    sign, bound = ("≤ ", "o") if row["state"] == AT_MOST else ("", "")
    value, low, high = 1e3 * row["seconds"], 1e3 * row["low"], 1e3 * row["high"]
    remark = f"{sign}{format_number(value)} ms"
    open_ends = (bool(np.isnan(low)) and not bound, bool(np.isnan(high)))
    return Dot(name, look, value, low, high, bound, remark, bool(row["is_disturbed"]), open_ends=open_ends)
