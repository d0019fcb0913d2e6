"""The figure of predicted and true error, as the preparations of methods measured them."""

from __future__ import annotations

import textwrap

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from pandas import DataFrame

from harness.report.analysis.calibration import SharedCalibration, group_calibrations
from harness.report.figures.plot_style import COLORS, DASHES, INK, MARKERS, add_question, new_figure, set_log_axis

MOST_PANELS = 3
_WIDTH, _PANEL_HEIGHT = 4.6, 2.9
"""Inches: type of 9 points is legible where the page is 420 pixels wide."""
_TITLE = 42
"""Characters of a panel's title in a line."""


def draw_calibration(trials: DataFrame, calibration: DataFrame) -> Figure | None:
    """Draw predicted and true uncertainty against sigma, a panel per preparation.

    The first, the middle and the last block are drawn. None where no method predicts.
    """
    # data
    found = group_calibrations(trials, calibration)[:MOST_PANELS]
    if not found:
        return None

    # axes and marks
    figure, panels = new_figure(_WIDTH, 1.0 + _PANEL_HEIGHT * len(found), rows=len(found))
    for axes, one in zip(panels, found, strict=True):
        _draw_panel(axes, one)

    # labels and legend
    add_question(figure, "Does the predicted error follow the true one?")
    panels[-1].set_xlabel("Noise level σ (sampling runs from left to right)")
    kinds = [Line2D([], [], color=INK, linestyle=style) for style in ("-", DASHES)]
    figure.legend(kinds, ["predicted", "true, at the same block"], loc="outside lower center", ncols=2)
    return figure


def _draw_panel(axes: Axes, one: SharedCalibration) -> None:
    # data: three blocks
    blocks = sorted(one.rows["block"].unique())
    shown = sorted({blocks[0], blocks[len(blocks) // 2], blocks[-1]})

    # marks
    for place, block in enumerate(shown):
        line = one.rows[one.rows["block"] == block].sort_values("sigma")
        color, marker = COLORS[place], MARKERS[place]
        axes.plot(line["sigma"], line["predicted"], color=color, marker=marker, markersize=4.5,
                  markeredgecolor="white", markeredgewidth=0.4, label=f"block {block:.0f}")  # fmt: skip
        axes.plot(line["sigma"], line["true"], color=color, linestyle=DASHES)

    # axes
    set_log_axis(axes, "x", one.rows["sigma"].to_numpy())
    axes.invert_xaxis()
    axes.set_ylim(bottom=0)

    # labels
    axes.set_title(textwrap.fill(one.name, _TITLE), fontsize=9)
    axes.set_ylabel("Mean uncertainty")
    axes.legend(loc="upper left")
