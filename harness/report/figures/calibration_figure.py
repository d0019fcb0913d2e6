"""The figure of predicted and true error, as the preparations of methods measured them."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pandas import DataFrame

from harness.report.analysis.calibration import SharedCalibration, group_calibrations
from harness.report.figures.margin_labels import label_lines
from harness.report.figures.plot_style import DASHES, add_note, add_question, new_figure, set_log_axis
from harness.report.figures.series_looks import assign_looks

MOST_PANELS = 3
_WIDTH, _PANEL_HEIGHT = 5.6, 3.3
_TINTS = (1.0, 0.7, 0.45)
"""Opacity of the first, the middle and the last block."""
_MARKERS = ("s", "^", "D")


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
        _draw_panel(axes, one, _family_color(trials, one))

    # labels
    add_question(figure, "Does the predicted error follow the true one?")
    panels[-1].set_xlabel("Noise level σ (sampling runs from left to right)")
    add_note(figure, "line: predicted; dashes: true, at the same block")
    return figure


def _family_color(trials: DataFrame, one: SharedCalibration) -> str:
    """Return the color of the family of the trials that share a preparation."""
    rows = trials[trials["trial_id"].isin(one.rows["trial_id"])]
    looks = assign_looks(rows.assign(series="one", is_baseline=False))
    return looks["one"].color


def _draw_panel(axes: Axes, one: SharedCalibration, color: str) -> None:
    # data: three blocks
    blocks = sorted(one.rows["block"].unique())
    shown = sorted({blocks[0], blocks[len(blocks) // 2], blocks[-1]})

    # marks
    for place, block in enumerate(shown):
        line = one.rows[one.rows["block"] == block].sort_values("sigma")
        tint: dict[str, Any] = {"color": color, "alpha": _TINTS[place]}
        axes.plot(line["sigma"], line["predicted"], marker=_MARKERS[place], markersize=4.5, markeredgecolor="white",
                  markeredgewidth=0.4, label=f"block {block:.0f}", **tint)  # fmt: skip
        axes.plot(line["sigma"], line["true"], linestyle=DASHES, **tint)

    # axes
    set_log_axis(axes, "x", one.rows["sigma"].to_numpy())
    axes.invert_xaxis()
    axes.set_ylim(bottom=0)

    # labels
    axes.set_title(one.name, fontsize=9)
    axes.set_ylabel("Mean uncertainty")
    label_lines(axes)
