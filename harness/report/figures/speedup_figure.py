"""The figure of speed-up at equal quality: a dot per row, with its interval and its FID."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pandas import DataFrame, Series

from harness.report.analysis.derive import ResourceClass, ranking_speedup
from harness.report.figures.plot_style import FAINT, INK, MUTED, Look, assign_looks, new_figure, set_log_axis
from harness.report.figures.quality_marks import drawable_rows, marker_style
from harness.report.formats import format_count, format_number

MOST_DOTS = 45
_NAME = "equal_quality_speedup"


def draw_equal_quality(one: ResourceClass) -> Figure | None:
    """Draw a dot per row at its speed-up at equal quality; open triangles are bounds."""
    # data
    rows = rows_with_speedup(one)
    if rows.empty:
        return None
    shown = rows.head(MOST_DOTS)

    # axes and marks
    figure, (axes,) = new_figure(8.4, 1.5 + 0.21 * len(shown))
    plot_speedup_dots(axes, shown, assign_looks(rows))

    # labels
    cut = f", the {MOST_DOTS} highest of {len(rows)}" if len(rows) > MOST_DOTS else ""
    axes.set_title(f"Speed-up at equal quality{cut}")
    return figure


def rows_with_speedup(one: ResourceClass) -> DataFrame:
    """Return the rows that have a speed-up at equal quality or a bound, highest first.

    Added columns: `series`, `lead` (the speed-up or its bound), `name` (series and NFE).
    """
    rows = drawable_rows(one, "speedup")
    # cast: there may be no rows
    names = rows["series"].astype(str) + ", NFE " + rows["nfe"].map(format_count).astype(str)
    rows = rows.assign(lead=ranking_speedup(rows), name=names)
    return rows.dropna(subset=["lead"]).sort_values(["lead", "fid", "trial_id"], ascending=[False, True, True])


def plot_speedup_dots(axes: Axes, rows: DataFrame, styles: dict[str, Look]) -> None:
    """Plot one line per row of `rows_with_speedup`, best on top; its FID is written at the right."""
    # marks
    places = np.arange(len(rows))[::-1]
    for place, (_, row) in zip(places, rows.iterrows(), strict=True):
        _plot_dot(axes, place, row, styles[row["series"]])

    # axes
    axes.axvline(1.0, color=MUTED, linewidth=1.0, zorder=1)
    axes.set_yticks(places, list(rows["name"]), fontsize=8.5, color=INK)
    axes.set_ylim(-0.8, len(rows) - 0.2)
    axes.grid(axis="y", color=FAINT, linewidth=0.5)
    set_log_axis(axes, "x", np.append(rows["lead"].to_numpy(), 1.0))

    # labels
    axes.set_xlabel(
        "Speed-up over the baseline at equal FID (×)\nopen triangle: a bound, the FID lies beyond the baseline's curve",
        loc="right",
    )


def _plot_dot(axes: Axes, place: float, row: Series, look: Look) -> None:
    # the value, or an open triangle that points beyond a bound
    value = row["lead"]
    if value in (row[f"{_NAME}_at_least"], row[f"{_NAME}_at_most"]):
        marker = ">" if value == row[f"{_NAME}_at_least"] else "<"
        axes.plot([value], [place], marker=marker, markersize=7, color="white",
                  markeredgecolor=look.color, markeredgewidth=1.6, zorder=4)  # fmt: skip
    else:
        axes.plot([value], [place], linestyle="", **marker_style(look), zorder=4)

    # its interval
    ends = [value if np.isnan(end) else end for end in (row[f"{_NAME}_low"], row[f"{_NAME}_high"])]
    axes.plot(ends, [place, place], color=look.color, linewidth=2.0, alpha=0.6, solid_capstyle="round", zorder=3)

    # its FID
    axes.annotate(
        f"FID {format_number(row['fid'])}", (1.0, place), (6, 0), xycoords=("axes fraction", "data"),
        textcoords="offset points", va="center", fontsize=7.5, color=MUTED, annotation_clip=False,
    )  # fmt: skip
