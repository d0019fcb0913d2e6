"""A plot with a line per row: a dot with its interval, a bound as an open mark, a row without a value in grey."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from harness.report.family_colors import MUTED
from harness.report.figures.limit_marks import DOTS
from harness.report.figures.plot_style import FAINT, INK, set_log_axis
from harness.report.figures.quality_marks import FAINT_SHARE, marker_style
from harness.report.figures.series_looks import GREY, Look


@dataclass(frozen=True)
class Dot:
    """One row of the plot; without a value (NaN) its `remark` stands in the plot instead."""

    name: str
    look: Look
    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    bound: str = ""
    """Empty for a value, else its mark: "o" for a measured point, ">" or "<" for the side that is open."""
    remark: str = ""
    faint: bool = False
    limit: float = math.nan
    """The limit of its network on the same axis: a dotted tick."""
    open_ends: tuple[bool, bool] = (False, False)
    """Whether the lower and the upper end of the interval are beyond what was measured: an arrow."""

    @property
    def is_apart(self) -> bool:
        """Return whether the row is no value of its own: a one-sided bound, or none at all."""
        return math.isnan(self.value) or self.bound in ("<", ">")


def plot_dots(axes: Axes, dots: Sequence[Dot], heading: str = "", include: Sequence[float] = ()) -> None:
    """Plot the rows from top to bottom; rows that are no values follow below a line with a heading.

    The x axis holds the values and those in `include`.
    """
    # places, from 0 at the bottom
    lower = [dot for dot in dots if dot.is_apart]
    upper = [dot for dot in dots if not dot.is_apart]
    below = _stack(lower)
    border = count_lines(lower)
    above = [border + (1.0 if lower else 0.0) + place for place in _stack(upper)]

    # marks
    for place, dot in zip([*above, *below], [*upper, *lower], strict=True):
        _plot_dot(axes, place, dot)
    if lower:
        axes.axhline(border + 0.6, color=MUTED, linewidth=0.8)
        axes.annotate(heading, (1.0, border + 0.1), (-2, 0), xycoords=("axes fraction", "data"), fontsize=7.5,
                      textcoords="offset points", ha="right", va="center", color=MUTED)  # fmt: skip

    # axes
    axes.set_yticks([*above, *below], [dot.name for dot in (*upper, *lower)], fontsize=8)
    for label, dot in zip(axes.get_yticklabels(), (*upper, *lower), strict=True):
        label.set_color(MUTED if math.isnan(dot.value) else INK)
    axes.set_ylim(-0.8, border + (1.0 if lower else 0.0) + count_lines(upper) - 0.2)
    axes.grid(axis="y", color=FAINT, linewidth=0.5)
    axes.margins(x=0.16)  # room for arrows
    set_log_axis(axes, "x", np.array([*(end for dot in dots for end in (dot.value, dot.limit)), *include]))


def count_lines(dots: Sequence[Dot]) -> float:
    """Return the height of the rows in lines; a name of several lines takes more than one."""
    return sum(map(_height, dots))


def _height(dot: Dot) -> float:
    return 1.0 + 0.6 * dot.name.count("\n")


def _stack(dots: Sequence[Dot]) -> list[float]:
    """Return the places of rows that lie on one another, the last at the bottom."""
    heights = np.array([_height(dot) for dot in dots])
    return [float(place) for place in heights[::-1].cumsum()[::-1] - heights / 2 - 0.5]


def _plot_dot(axes: Axes, place: float, dot: Dot) -> None:
    # a row without a value
    if math.isnan(dot.value):
        axes.annotate(dot.remark, (0.0, place), (6, 0), xycoords=("axes fraction", "data"), va="center",
                      textcoords="offset points", fontsize=7.5, color=MUTED,
                      bbox={"boxstyle": "square,pad=0.15", "facecolor": "white", "linewidth": 0})  # fmt: skip
        return

    # the value, open for a bound
    opacity = FAINT_SHARE if dot.faint else 1.0
    color = MUTED if dot.look == GREY else dot.look.color
    if dot.bound:
        axes.plot([dot.value], [place], marker=dot.bound, markersize=7, markerfacecolor="white", color="white",
                  markeredgecolor=color, markeredgewidth=1.6, alpha=opacity, zorder=4)  # fmt: skip
    else:
        style = {**marker_style(dot.look), "color": color, "markersize": 6.8}
        axes.plot([dot.value], [place], linestyle="", alpha=opacity, zorder=4, **style)

    # its interval
    ends = [dot.value if math.isnan(end) else end for end in (dot.low, dot.high)]
    axes.plot(ends, [place, place], color=color, linewidth=2.0, alpha=0.6 * opacity, solid_capstyle="round", zorder=3)

    for is_open, side in zip(dot.open_ends, (-1, 1), strict=True):
        if is_open:
            arrow = {"arrowstyle": "<-", "color": color, "linewidth": 1.2, "alpha": 0.7 * opacity, "shrinkB": 4}
            axes.annotate("", (dot.value, place), (side * 22, 0), textcoords="offset points", arrowprops=arrow)

    # its network's limit
    if not math.isnan(dot.limit):
        ends = [place - 0.38, place + 0.38]
        axes.plot([dot.limit] * 2, ends, color=MUTED, linewidth=1.2, linestyle=DOTS, zorder=2)

    # its remark at the right
    axes.annotate(
        dot.remark, (1.0, place), (6, 0), xycoords=("axes fraction", "data"), textcoords="offset points",
        va="center", fontsize=7.5, color=MUTED, annotation_clip=False,
    )  # fmt: skip
