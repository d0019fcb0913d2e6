"""The figure of the widths that run at each step, for rows whose network changes its width."""

from __future__ import annotations

import json

from matplotlib.figure import Figure
from pandas import DataFrame

from harness.report.figures.plot_style import unique_names
from harness.report.figures.step_map import MOST_ROWS, draw_step_map
from harness.report.formats import one_line
from harness.schema.trial_name import trial_name

_UNIT = "width-"


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

    figure, axes = draw_step_map(table, darkest=1.25, write=lambda width: f"{width:g}", margin=1.6)
    axes.set_title("Which width runs at each step?")
    return figure


def _width(units: str) -> float:
    """Return the mean width of a step's evaluations; NaN if units are no widths."""
    counts = json.loads(units) if units else {}
    if not counts or not all(name.startswith(_UNIT) for name in counts):
        return float("nan")
    total = sum(counts.values())
    return sum(float(name.removeprefix(_UNIT)) * count for name, count in counts.items()) / total
