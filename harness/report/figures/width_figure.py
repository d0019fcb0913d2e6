"""The figure of the widths that run at each step, for rows whose network changes its width."""

from __future__ import annotations

import json

import numpy as np
import seaborn as sns
from matplotlib.figure import Figure
from pandas import DataFrame

from harness.report.figures.plot_style import new_figure, unique_names
from harness.report.formats import one_line
from harness.schema.trial_name import trial_name

MOST_ROWS = 16
_UNIT = "width-"
_INCHES_PER_CHARACTER = 0.082


def draw_widths_by_step(rows: DataFrame, steps: DataFrame) -> Figure | None:
    """Draw a map of width against step, a line per row in which widths change.

    None without such rows.
    """
    # data: names and widths
    named = rows[["trial_id", "method", "network", "steps"]].sort_values(["steps", "method", "network", "trial_id"])
    widths = steps.assign(width=[_width(units) for units in steps["units_json"]]).dropna(subset=["width"])
    names = [one_line(trial_name(row["network"], row["method"], row["steps"])) for _, row in named.iterrows()]

    # rows in which they change
    found = {
        name: widths[widths["trial_id"] == trial_id]
        for name, trial_id in zip(unique_names(names), named["trial_id"], strict=True)
    }
    found = {name: line.sort_values("step") for name, line in found.items() if line["width"].nunique() > 1}
    if not found:
        return None

    # table [rows, steps]
    shown = dict(list(found.items())[:MOST_ROWS])
    table = DataFrame({name: line.set_index("step")["width"] for name, line in shown.items()}).T
    table = table[sorted(table.columns)]

    # axes
    names_width = _INCHES_PER_CHARACTER * max(map(len, shown))
    figure, (axes,) = new_figure(names_width + 0.36 * min(table.shape[1], 30) + 0.6, 1.6 + 0.34 * len(table))

    # marks: widths are written where steps are few
    few = table.shape[1] <= 24
    labels = np.vectorize(lambda value: "" if np.isnan(value) else f"{value:g}")(table.to_numpy()) if few else False
    sns.heatmap(
        table, ax=axes, annot=labels, fmt="", cmap="Blues", vmin=0.0, vmax=1.25, linewidths=0.5, cbar=False,
        xticklabels=False, yticklabels=False, annot_kws={"fontsize": 7},
    )  # fmt: skip

    # labels
    axes.set_yticks([number + 0.5 for number in range(len(table))], list(table.index))
    axes.set(xlabel="Step (highest noise first, data last)", ylabel="", title="Which width runs at each step?")
    return figure


def _width(units: str) -> float:
    """Return the mean width of a step's evaluations; NaN if units are no widths."""
    counts = json.loads(units) if units else {}
    if not counts or not all(name.startswith(_UNIT) for name in counts):
        return float("nan")
    total = sum(counts.values())
    return sum(float(name.removeprefix(_UNIT)) * count for name, count in counts.items()) / total
