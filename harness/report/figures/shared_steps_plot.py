"""The plot of FID at one step count, that which most methods share: what a suite without targets shows."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from pandas import DataFrame

from harness.report.analysis.limits import BELOW_LIMIT, LimitFid
from harness.report.figures.dot_plot import Dot, plot_dots
from harness.report.figures.limit_marks import BELOW_MARK, find_rows_below
from harness.report.figures.margin_labels import break_name
from harness.report.figures.series_looks import Look
from harness.report.formats import axis_label, format_number

MOST_DOTS = 12
_NAME = 40


def choose_steps(rows: DataFrame) -> int:
    """Return the step count that most series share, the smallest of several."""
    shared = rows.groupby("steps")["series"].nunique().sort_index()
    return round(float(shared.index[int(shared.argmax())]))


def plot_fid_at_steps(
    axes: Axes, rows: DataFrame, looks: dict[str, Look], limits: dict[str, LimitFid]
) -> tuple[int, list[Dot]]:
    """Plot the FID of each series at the step count that most share, the best on top; return both.

    The limit of each row's network is a dotted tick; rows significantly below it carry a mark.
    """
    # data: the baseline stays among those that are shown
    steps = choose_steps(rows)
    every = rows[rows["steps"] == steps].sort_values(["fid", "trial_id"])
    here = every[(np.arange(len(every)) < MOST_DOTS) | every["is_baseline"]]
    below = find_rows_below(here, limits)

    # marks
    dots = [
        Dot(break_name(row["series"], _NAME), looks[row["series"]], row["fid"], row["fid_low"], row["fid_high"],
            remark=f"{format_number(row['fid'])}{BELOW_MARK if under else ''}",
            limit=limits[row["network"]].fid if row["network"] in limits else math.nan)
        for (_, row), under in zip(here.iterrows(), below, strict=True)
    ]  # fmt: skip
    plot_dots(axes, dots)

    # labels, intervals cut where the axis is logarithmic
    if axes.get_xscale() == "log":
        axes.set_xlim(
            0.55 * min(here["fid"].min(), *(dot.limit for dot in dots if dot.limit > 0), math.inf),
            1.3 * here["fid_high"].fillna(here["fid"]).max(),
        )
    more = f"\n{len(every) - len(here)} more in the tables" if len(every) > len(here) else ""
    footnote = f"\n{BELOW_MARK} {BELOW_LIMIT}" if below.any() else ""
    axes.set_xlabel(axis_label("fid") + footnote + more, loc="right")
    return steps, dots
