"""What methods predict of their own error beside the truth, as their preparations measured it: a figure and a table.

Trials whose numbers are the same, as those that share one preparation, are shown once.
"""

from __future__ import annotations

import textwrap
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from pandas import DataFrame

from harness.report.analysis.derive import Analysis
from harness.report.figures.plot_style import COLORS, INK, MARKERS, log_axis, new_figure
from harness.report.formats import number, one_line
from harness.report.sections import Section

MOST_PANELS = 3
_WIDTH, _PANEL_HEIGHT = 4.6, 2.9  # inches: type of 9 points is read where the page is 420 pixels wide
_TITLE = 42  # characters of a panel's title in a line


class Measured(NamedTuple):
    """One preparation: the trials that share it, in words, and its rows of the table."""

    name: str
    rows: DataFrame


def calibration_figure(trials: DataFrame, calibration: DataFrame) -> Figure | None:
    """Return predicted and true uncertainty against sigma, a panel per preparation; None where nothing predicts.

    Drawn are the first, the middle and the last block.
    """
    found = _measured(trials, calibration)[:MOST_PANELS]
    if not found:
        return None
    figure, panels = new_figure(_WIDTH, 1.0 + _PANEL_HEIGHT * len(found), rows=len(found))
    for axes, one in zip(panels, found, strict=True):
        _draw(axes, one)
    panels[-1].set_xlabel("Noise level σ (sampling runs from left to right)")
    kinds = [Line2D([], [], color=INK, linestyle=style) for style in ("-", (0, (4, 2)))]
    figure.legend(kinds, ["predicted", "true, at the same block"], loc="outside lower center", ncols=2)
    return figure


def calibration_table(analysis: Analysis) -> Section:
    """Return per preparation how far predictions are from the truth, and both at the ends of the noise levels."""
    rows = []
    for name, here in _measured(analysis.trials, analysis.calibration):
        off = (here["predicted"] - here["true"]).abs()
        worst = here.iloc[int(off.to_numpy().argmax())]
        ends = [here[here["sigma"] == sigma][["predicted", "true"]].mean() for sigma in _ends(here)]
        rows.append((
            name, number(off.mean()),
            f"{number(off.max())} (σ {number(worst['sigma'])}, block {worst['block']:.0f})",
            *(f"{number(end['predicted'])} / {number(end['true'])}" for end in ends),
        ))  # fmt: skip
    headings = ("Trial", "Mean distance", "Largest distance", "Highest σ: predicted / true",
                "Lowest σ: predicted / true")  # fmt: skip
    return Section(headings, rows)


def _ends(rows: DataFrame) -> tuple[float, float]:
    return rows["sigma"].max(), rows["sigma"].min()


def _measured(trials: DataFrame, calibration: DataFrame) -> list[Measured]:
    """Return what was measured once each, in order of the names."""
    known = calibration.dropna(subset=["sigma", "block", "predicted", "true"])
    known = known.sort_values(["part", "block", "sigma"], ascending=[True, True, False])
    named = trials[["trial_id", "method", "network"]].sort_values(["method", "network", "trial_id"])
    found: dict[bytes, list[tuple[str, DataFrame]]] = {}
    groups = dict(list(known.groupby("trial_id")))
    for _, trial in named[named["trial_id"].isin(known["trial_id"])].iterrows():
        rows = groups[trial["trial_id"]]
        numbers = rows[["block", "sigma", "predicted", "true"]].to_numpy().tobytes()
        found.setdefault(numbers, []).append((one_line(f"{trial['method']} @ {trial['network']}"), rows))
    return [Measured(_name([name for name, _ in shared]), shared[0][1]) for shared in found.values()]


def _name(names: list[str]) -> str:
    distinct = sorted(set(names))
    return distinct[0] if len(distinct) == 1 else f"{distinct[0]} and {len(distinct) - 1} more"


def _draw(axes: Axes, one: Measured) -> None:
    blocks = sorted(one.rows["block"].unique())
    shown = sorted({blocks[0], blocks[len(blocks) // 2], blocks[-1]})
    for place, block in enumerate(shown):
        line = one.rows[one.rows["block"] == block].sort_values("sigma")
        color, marker = COLORS[place], MARKERS[place]
        axes.plot(line["sigma"], line["predicted"], color=color, marker=marker, markersize=4.5,
                  markeredgecolor="white", markeredgewidth=0.4, label=f"block {block:.0f}")  # fmt: skip
        axes.plot(line["sigma"], line["true"], color=color, linestyle=(0, (4, 2)))
    log_axis(axes, "x", one.rows["sigma"].to_numpy())
    axes.invert_xaxis()
    axes.set_ylim(bottom=0)
    axes.set_title(textwrap.fill(one.name, _TITLE), fontsize=9)
    axes.set_ylabel("Mean uncertainty")
    axes.legend(loc="upper left")
