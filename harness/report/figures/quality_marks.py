"""Marks that the figures of FID share: rows with their series, scatter with front, lines, limits, legend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from pandas import DataFrame

from harness.report.analysis.derive import ResourceClass
from harness.report.analysis.limits import BELOW_LIMIT, LimitFid
from harness.report.analysis.pareto import pareto_front
from harness.report.figures.front_labels import label_front
from harness.report.figures.limit_marks import (
    LIMIT_LABEL,
    limit_handle,
    mark_below_limit,
    plot_limits,
)
from harness.report.figures.margin_labels import label_line
from harness.report.figures.plot_style import DASHES, INK, fix_layout, set_log_axis, set_ticks
from harness.report.figures.plotted_times import is_disturbed
from harness.report.figures.series_looks import GREY, OTHERS_NAME, Look, assign_class_looks, row_look, with_colors
from harness.report.formats import axis_label, format_count, one_line

FAINT_SHARE = 0.3
"""Opacity of a mark whose timing was disturbed."""
DISTURBED = "faint: timing was disturbed"
LIKELY = "pareto_time_probability"


@dataclass
class Marks:
    """What one plot shows, for its legend and its labels."""

    axes: Axes
    rows: DataFrame
    x: str
    looks: dict[str, Look]
    front: list[tuple[float, float, str]] = field(default_factory=list)
    """(x, FID, label) of each point on the front."""
    has_limits: bool = False
    front_is_likely: bool = False
    has_below: bool = False
    has_disturbed: bool = False


def drawable_rows(one: ResourceClass, column: str) -> DataFrame:
    """Return the rows that have a FID and this column, with `series`, the name of their line."""
    rows = name_series(one.rows)
    return rows.dropna(subset=["fid", column]).sort_values(["series", "nfe", "trial_id"], ignore_index=True)


def name_series(rows: DataFrame) -> DataFrame:
    """Return the rows with `series`: the method, after its network where there are several, as in tables."""
    several = rows["network"].nunique() > 1
    names = rows["network"] + ":" + rows["method"] if several else rows["method"]
    return rows.assign(series=[one_line(name) or "unnamed" for name in names])


def class_looks(one: ResourceClass) -> dict[str, Look]:
    """Return the look of every series of a class, the same in all its figures of FID."""
    return assign_class_looks(name_series(one.rows).dropna(subset=["fid"]))


def named_looks(one: ResourceClass) -> dict[str, Look]:
    """Return the looks of figures in which every row is named where it stands: none is grey for lack of room."""
    rows = name_series(with_colors(one.rows)).dropna(subset=["fid"])
    alone = {str(series): row_look(found.iloc[0]) for series, found in rows.groupby("series")}
    return alone | {series: look for series, look in class_looks(one).items() if look != GREY}


def plot_scatter(
    axes: Axes, rows: DataFrame, x: str, ends: tuple[str, str] | None, looks: dict[str, Look],
    limits: dict[str, LimitFid], timed: bool = True, name_limits: bool = True,
) -> Marks:  # fmt: skip
    """Plot every row with its intervals, a thin line through each series, the front and the limits.

    `x` and `ends` name the columns of the value and of its interval; `timed`: whether x is a time.
    Without `name_limits` the limits have no names.
    """
    known = rows.dropna(subset=[x])
    marks = Marks(axes, known, x, looks, has_disturbed=timed and bool(is_disturbed(known).any()))

    # marks of each series, grey ones below
    for series, look in _grey_first(looks):
        line = known[known["series"] == series].sort_values([x, "trial_id"])
        _plot_series(axes, line, x, ends, look, faint=timed)

    # front
    front = _find_front(known, x).sort_values([x, "trial_id"])
    axes.plot(front[x], front["fid"], color=INK, linewidth=1.3, linestyle=DASHES, drawstyle="steps-post", zorder=3)
    marks.front = [(row[x], row["fid"], format_count(row["nfe"])) for _, row in front.iterrows()]
    marks.front_is_likely = _has_probability(known, x)

    # axes and limits
    set_log_axis(axes, "x", known[x].to_numpy())
    _finish_quality_axis(marks, limits, name_limits)
    axes.margins(x=0.09)
    return marks


def plot_lines(
    axes: Axes, rows: DataFrame, looks: dict[str, Look], limits: dict[str, LimitFid], x: str = "nfe"
) -> Marks:
    """Plot FID against a count of evaluations or steps, a line per series with its intervals, and the limits."""
    marks = Marks(axes, rows, x, looks)
    for series, look in _grey_first(looks):
        line = rows[rows["series"] == series].sort_values([x, "trial_id"])
        _plot_series(axes, line, x, None, look, faint=False, strong=True)

    # axes and labels
    set_log_axis(axes, "x", rows[x].to_numpy())
    set_ticks(axes, rows[x].to_numpy())
    _finish_quality_axis(marks, limits)
    axes.set(xlabel="Network evaluations per image (NFE)")
    return marks


def interval_sides(rows: DataFrame, value: str, ends: tuple[str, str]) -> np.ndarray:
    """Return the distances [2, rows] to the ends of the interval; 0 where there is none."""
    low, high = rows[value] - rows[ends[0]], rows[ends[1]] - rows[value]
    return np.clip(np.nan_to_num(np.stack([low, high])), 0.0, None)


def marker_style(look: Look) -> dict:
    """Return the arguments of `Axes.plot` for the markers of a look."""
    return {
        "marker": look.marker,
        "color": look.color,
        "markersize": 4.5 if look == GREY else 6.8,
        "markeredgecolor": "white",
        "markeredgewidth": 0.6,
    }


def finish_labels(figure: Figure, every: Sequence[Marks], part: SubFigure | None = None) -> None:
    """Put the legend below the figure or a part of it, fix the layout, and write the evaluations of front points."""
    handles = legend_handles(every)
    (part or figure).legend(
        [*handles.values()], [*handles], loc="outside lower center", ncols=min(3, max(1, len(handles)))
    )
    fix_layout(figure)
    for marks in every:
        label_front(marks.axes, marks.front)


def legend_handles(every: Sequence[Marks]) -> dict[str, Line2D]:
    """Return the legend of what labels in the plots do not say: others, front, limits, marks of single rows."""
    entries: dict[str, Line2D] = {}
    for marks in every:
        # series
        shown = marks.rows["series"].unique()
        grey = sum(marks.looks[series] == GREY for series in shown)
        if grey:
            entries[f"{grey} {OTHERS_NAME}"] = Line2D([], [], linewidth=GREY.width, **marker_style(GREY))

        # front, limits and marks of single rows
        if marks.front:
            entries[_front_label(marks)] = front_handle()
        if marks.has_limits:
            entries[LIMIT_LABEL] = limit_handle()
        if marks.has_below:
            ring = Line2D([], [], linestyle="", marker="o", markersize=10, markerfacecolor="none", markeredgecolor=INK)
            entries[BELOW_LIMIT] = ring
        if marks.has_disturbed:
            entries[DISTURBED] = Line2D([], [], linestyle="", alpha=FAINT_SHARE, **marker_style(Look(INK, "o", 1.0)))
    return entries


def _name_series(marks: Marks) -> None:
    """Write the name of each colored series at the right of its plot."""
    for series, line in marks.rows.groupby("series"):
        look = marks.looks[str(series)]
        if look != GREY:
            points = line.sort_values([marks.x, "trial_id"])
            proxy = Line2D(points[marks.x], points["fid"], **marker_style(look))
            label_line(marks.axes, proxy, f"{series} (baseline)" if look.color == INK else str(series))


def front_handle() -> Line2D:
    """Return the legend's handle of a Pareto front."""
    return Line2D([], [], color=INK, linewidth=1.3, linestyle=DASHES)


def _front_label(marks: Marks) -> str:
    likely = " of probability 50 % or more" if marks.front_is_likely else ""
    return f"Pareto front{likely}, with NFE"


def _has_probability(rows: DataFrame, x: str) -> bool:
    """Return whether the front against x is that of which each row's probability is known."""
    return x in ("relative_time", "image_ms") and LIKELY in rows and bool(rows[LIKELY].notna().any())


def _find_front(rows: DataFrame, x: str) -> DataFrame:
    """Return the rows on the front: likely ones where the probability is known, else by point estimates."""
    if _has_probability(rows, x):
        return rows[rows[LIKELY] >= 0.5]
    return rows[pareto_front(rows[x].to_numpy(), rows["fid"].to_numpy())]


def _grey_first(looks: dict[str, Look]) -> list[tuple[str, Look]]:
    return sorted(looks.items(), key=lambda item: (item[1] != GREY, item[0]))


def _plot_series(
    axes: Axes, line: DataFrame, x: str, ends: tuple[str, str] | None, look: Look, faint: bool, strong: bool = False
) -> None:
    """Plot the rows of a series with intervals, a line through them, and faint marks for disturbed timings."""
    # below the colored ones, grey ones have thinner intervals
    grey = look == GREY
    axes.errorbar(
        line[x], line["fid"], yerr=interval_sides(line, "fid", ("fid_low", "fid_high")),
        xerr=interval_sides(line, x, ends) if ends else None, fmt="none", ecolor=look.color,
        elinewidth=0.6 if grey else 0.9, alpha=0.35 if grey else 0.5, zorder=1.8 if grey else 2.0,
    )  # fmt: skip
    width, alpha = (look.width, 1.0) if strong else (look.width * 0.6, 0.55)
    axes.plot(line[x], line["fid"], color=look.color, linewidth=width, alpha=alpha, zorder=1.9 if grey else 2.1)

    # marks
    weak = is_disturbed(line) & faint
    for rows, opacity in ((line[~weak], 1.0), (line[weak], FAINT_SHARE)):
        if len(rows):
            axes.plot(
                rows[x], rows["fid"], linestyle="", alpha=opacity, zorder=2.2 if grey else 4, **marker_style(look)
            )


def _finish_quality_axis(marks: Marks, limits: dict[str, LimitFid], name_limits: bool = True) -> None:
    """Scale the axis of FID, draw the limits, and mark the rows below them.

    On a logarithmic axis intervals are cut at half of the lowest value: else they take most of it.
    """
    axes, rows = marks.axes, marks.rows
    limits = {name: limit for name, limit in limits.items() if limit.fid > 0 and name in set(rows["network"])}
    values = np.array([*rows["fid"], *(limit.fid for limit in limits.values())])
    set_log_axis(axes, "y", values)
    if axes.get_yscale() == "log":
        axes.set_ylim(0.55 * np.nanmin(values), 1.5 * np.nanmax(values))
    axes.set_ylabel(axis_label("fid"))
    named = rows.loc[[marks.looks[series] != GREY for series in rows["series"]], "network"]
    plot_limits(axes, limits, set(named), name_limits)
    marks.has_limits = bool(limits)
    _name_series(marks)
    marks.has_below = mark_below_limit(axes, rows, marks.x, limits)
