"""A map of one number by row and step, as figures of widths and of skipped calls draw it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pandas import DataFrame

from harness.report.figures.plot_style import new_figure, number_steps

MOST_ROWS = 16
_INCHES_PER_CHARACTER = 0.082
_FEW_STEPS = 24


def draw_step_map(
    table: DataFrame, darkest: float, write: Callable[[float], str], margin: float
) -> tuple[Figure, Axes]:
    """Draw values [rows, steps], a line per name of the index; written out by `write` where steps are few.

    The darkest blue stands for `darkest`; NaN is left white. `margin` is the height in inches besides the lines.
    """
    longest, n_steps = max(map(len, table.index)), table.shape[1]
    width = _INCHES_PER_CHARACTER * longest + 0.36 * min(n_steps, 30) + 0.6
    figure, (axes,) = new_figure(width, margin + 0.34 * len(table))

    # marks
    labels = [["" if np.isnan(value) else write(value) for value in line] for line in table.to_numpy()]
    sns.heatmap(
        table, ax=axes, annot=np.array(labels) if n_steps <= _FEW_STEPS else False, fmt="", cmap="Blues", vmin=0.0,
        vmax=darkest, linewidths=0.5, cbar=False, xticklabels=False, yticklabels=False, annot_kws={"fontsize": 7},
    )  # fmt: skip

    # labels
    axes.set_yticks([number + 0.5 for number in range(len(table))], list(table.index))
    number_steps(axes, n_steps)
    axes.set(xlabel="Step (highest noise first, data last)", ylabel="")
    return figure, axes
