"""Marks that the figures of FID share: rows with their series, scatter with front, lines, legend."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from pandas import DataFrame

from harness.report.analysis.derive import ResourceClass
from harness.report.analysis.pareto import pareto_front
from harness.report.figures.plot_style import DASHES, INK, MUTED, Look, assign_looks, set_log_axis, set_ticks
from harness.report.formats import axis_label, format_count, one_line

GREY = Look(MUTED, "o", 1.0)
FRONT_LABEL = "Pareto front, with NFE"


def drawable_rows(one: ResourceClass, column: str) -> DataFrame:
    """Return the rows that have a FID and this column, with `series`, the name of their line."""
    rows = one.rows.copy()
    several = rows["network"].nunique() > 1
    names = rows["method"] + " @ " + rows["network"] if several else rows["method"]
    rows["series"] = [one_line(name) or "unnamed" for name in names]
    return rows.dropna(subset=["fid", column]).sort_values(["series", "nfe", "trial_id"], ignore_index=True)


def plot_scatter(
    axes: Axes, rows: DataFrame, x: str, ends: tuple[str, str] | None, others: Collection[str] = ()
) -> list[tuple[float, float, str]]:
    """Plot every row with its intervals, a thin line through each method, and the Pareto front.

    `x` and `ends` name the columns of the value and of its interval; series in `others` are grey.
    Returns the labels of the front: (x, FID, text) each.
    """
    known = rows.dropna(subset=[x])

    # marks of each series
    for series, look in assign_looks(rows).items():
        look = GREY if series in others else look
        line = known[known["series"] == series].sort_values(x)
        axes.errorbar(
            line[x], line["fid"], yerr=interval_sides(line, "fid", ("fid_low", "fid_high")),
            xerr=interval_sides(line, x, ends) if ends else None, fmt="none", ecolor=look.color, elinewidth=0.9,
            alpha=0.55,
        )  # fmt: skip
        axes.plot(line[x], line["fid"], color=look.color, linewidth=look.width * 0.55, alpha=0.45, zorder=2)
        axes.plot(line[x], line["fid"], linestyle="", **marker_style(look), zorder=4)

    # front
    front = known[pareto_front(known[x].to_numpy(), known["fid"].to_numpy())].sort_values(x)
    axes.plot(front[x], front["fid"], color=INK, linewidth=1.3, linestyle=DASHES, drawstyle="steps-post", zorder=3)

    # axes
    set_log_axis(axes, "x", known[x].to_numpy())
    set_log_axis(axes, "y", known["fid"].to_numpy())
    axes.set_ylabel(axis_label("fid"))
    axes.margins(0.09)
    return [(row[x], row["fid"], format_count(row["nfe"])) for _, row in front.iterrows()]


def plot_lines(axes: Axes, rows: DataFrame, styles: dict[str, Look]) -> None:
    """Plot FID against NFE, a line per series with its intervals."""
    # marks
    for series, look in styles.items():
        line = rows[rows["series"] == series].sort_values("nfe")
        sides = interval_sides(line, "fid", ("fid_low", "fid_high"))
        axes.errorbar(line["nfe"], line["fid"], yerr=sides, fmt="none", ecolor=look.color, elinewidth=0.9, alpha=0.55)
        sns.lineplot(
            x=line["nfe"], y=line["fid"], ax=axes, color=look.color, linewidth=look.width, errorbar=None, sort=True
        )
        axes.plot(line["nfe"], line["fid"], linestyle="", **marker_style(look), zorder=4)

    # axes and labels
    set_log_axis(axes, "x", rows["nfe"].to_numpy())
    set_log_axis(axes, "y", rows["fid"].to_numpy())
    set_ticks(axes, rows["nfe"].to_numpy())
    axes.set(xlabel="Network evaluations per image (NFE)", ylabel=axis_label("fid"))


def interval_sides(rows: DataFrame, value: str, ends: tuple[str, str]) -> np.ndarray:
    """Return the distances [2, rows] to the ends of the interval; 0 where there is none."""
    low, high = rows[value] - rows[ends[0]], rows[ends[1]] - rows[value]
    return np.clip(np.nan_to_num(np.stack([low, high])), 0.0, None)


def marker_style(look: Look) -> dict:
    """Return the arguments of `Axes.plot` for the markers of a look."""
    return {
        "marker": look.marker,
        "color": look.color,
        "markersize": 6.8,
        "markeredgecolor": "white",
        "markeredgewidth": 0.6,
    }


def front_handle() -> Line2D:
    """Return the legend's handle of a Pareto front."""
    return Line2D([], [], color=INK, linewidth=1.3, linestyle=DASHES)


def add_legend(figure: Figure, rows: DataFrame, front: bool = False) -> None:
    """Put a legend at the right, worst FID on top as the lines lie, the front last."""
    styles = assign_looks(rows)
    order = sorted(styles, key=lambda series: (-rows.loc[rows["series"] == series, "fid"].min(), series))
    handles = [Line2D([], [], linewidth=styles[series].width, **marker_style(styles[series])) for series in order]
    if front:
        handles, order = [*handles, front_handle()], [*order, FRONT_LABEL]
    figure.legend(handles, order, loc="outside right center")


def legend_height(rows: DataFrame, least: float) -> float:
    """Return the inches that a legend of these rows needs at the right of the axes."""
    return max(least, 0.9 + 0.175 * (rows["series"].nunique() + 1))
