"""The figures of parallel executors: refinements, distance to the serial run, devices.

They are drawn once, over all rows that differ in the number of devices alone.
These are the rows of `executor_rows.select_parallel_rows`.
A time replayed by a model is drawn open and dashed, and is called virtual.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from pandas import DataFrame, Series

from harness.report.analysis.equal_distance import ExecutorCurve, executor_curves
from harness.report.analysis.executor_rows import (
    drop_parameter,
    key_without_parameter,
    read_tolerance,
    speedups_over_serial,
)
from harness.report.family_colors import MUTED
from harness.report.figures.margin_labels import label_lines
from harness.report.figures.plot_style import (
    DASHES,
    INK,
    add_note,
    add_question,
    new_panels,
    set_log_axis,
    set_ticks,
)
from harness.report.figures.series_looks import MOST_SERIES, Look, assign_looks, describe_grey, with_colors
from harness.report.formats import one_line

MOST_PANELS = 4
IDEAL = "ideal: as many times as devices"
_SAVED = "Serial latency over latency\n(one image alone)"
_VIRTUAL = ", virtual"


def draw_error_by_refinement(rows: DataFrame, refinements: DataFrame) -> Figure | None:
    """Draw the distance to the serial result after each refinement, a line per row.

    Each executor and step count has a panel.
    A result that is bitwise the serial one is a triangle on the axis: a zero has no logarithm.
    """
    # data
    known = refinements.dropna(subset=["refinement", "distance_to_serial"]).sort_values("refinement")
    rows = _tightest(rows[rows["trial_id"].isin(known["trial_id"])])
    shown = _choose_panels(rows, ["executor", "steps"])
    if not shown:
        return None
    lines = {str(trial_id): line for trial_id, line in known.groupby("trial_id")}

    # axes and marks
    figure, panels = new_panels(len(shown), 5.6, 3.9)
    styles = assign_looks(rows, most_of_family=MOST_SERIES)
    for axes, (executor, steps) in zip(panels, shown, strict=True):
        here = rows[(rows["executor"] == executor) & (rows["steps"] == steps)]
        for _, row in here.iterrows():
            _plot_refinements(axes, lines[row["trial_id"]], styles[row["series"]], row["series"])
        values = known[known["trial_id"].isin(here["trial_id"])]["distance_to_serial"]
        set_log_axis(axes, "y", values[values > 0].to_numpy())
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(xlabel="Refinements done", ylabel="Distance to the serial answer\n(relative RMS)",
                 title=f"{one_line(executor)}, {steps:.0f} steps")  # fmt: skip
        label_lines(axes)

    # labels
    zero = "; triangle on the axis: bit by bit the serial answer" if (known["distance_to_serial"] == 0).any() else ""
    add_question(figure, "How many refinements until a parallel executor gives the serial answer?")
    notes = [f"one batch from the same noise; images that have stopped keep their states{zero}", *describe_grey(styles)]
    add_note(figure, "; ".join(notes))
    return figure


def draw_iterations_by_tolerance(rows: DataFrame) -> Figure | None:
    """Draw the mean and the maximum of refinements against the executor's tolerance.

    None where no executor has two tolerances.
    """
    # data: executors with several tolerances
    rows = rows.assign(tolerance=[read_tolerance(row) for _, row in rows.iterrows()])
    rows = rows[(rows["tolerance"] > 0) & rows["iterations"].notna()]
    names = [drop_parameter(name, "tolerance") for name in rows["series"]]
    rows = rows.assign(
        series=[f"{name}, {steps:.0f} steps" for name, steps in zip(names, rows["steps"], strict=True)],
        alike=[key_without_parameter(row, "tolerance") for _, row in rows.iterrows()],
    )
    rows = rows[rows.groupby("alike")["tolerance"].transform("nunique") > 1]
    executors = sorted(rows["executor"].unique())[:MOST_PANELS]
    if not executors:
        return None

    # axes and marks
    figure, panels = new_panels(len(executors), 5.6, 3.9)
    styles = assign_looks(rows, most_of_family=MOST_SERIES)
    for axes, executor in zip(panels, executors, strict=True):
        here = rows[rows["executor"] == executor]
        for _, line in here.sort_values("tolerance").groupby("alike"):
            series = line["series"].iloc[0]
            look = styles[series]
            _plot_line(axes, line["tolerance"], line["iterations"], look, look.legend_name(series))
            axes.plot(line["tolerance"], line["iterations_most"], color=look.color, linewidth=1.0, linestyle=DASHES)
        set_log_axis(axes, "x", here["tolerance"].to_numpy())
        axes.set(xlabel="Tolerance", ylabel="Refinements until an image stops", title=one_line(executor))
        axes.set_ylim(bottom=0)
        label_lines(axes)

    # labels
    add_question(figure, "How many refinements does a tolerance cost?")
    notes = ["line: mean over images; dashes: the image that takes most", *describe_grey(styles)]
    add_note(figure, "; ".join(notes))
    return figure


def draw_speedup_by_distance(rows: DataFrame) -> Figure | None:
    """Draw speed-up against distance to the serial result, a line per executor.

    Each step count has a panel.
    The line joins the points on the running best, as equal distance is read.
    None where no executor was run to several tolerances.
    """
    # data
    lines = executor_curves(rows)
    if not lines:
        return None
    color = with_colors(rows)["family_color"].iloc[0]  # parallel executors are one family
    counted = DataFrame([
        {"steps": line.steps, "series": line.series, "is_baseline": False, "family_color": color} for line in lines
    ])  # fmt: skip
    shown = _choose_panels(counted, ["steps"])

    # axes and marks
    figure, panels = new_panels(len(shown), 5.6, 3.9)
    styles = assign_looks(counted, most_of_family=MOST_SERIES)
    for axes, (steps,) in zip(panels, shown, strict=True):
        here = [line for line in lines if line.steps == steps]
        for line in here:
            _plot_curve(axes, line, styles[line.series])
        every = pd.concat([line.points for line in here])
        axes.axhline(1.0, color=INK, linewidth=0.8, zorder=1)
        set_log_axis(axes, "x", every["distance"].to_numpy())
        set_log_axis(axes, "y", every["speedup"].to_numpy())
        axes.set(xlabel="Distance to the serial answer (relative RMS)", ylabel=_SAVED, title=f"{steps:.0f} steps")
        label_lines(axes)

    # labels
    add_question(figure, "How much latency does a parallel executor save for how much distance to the serial answer?")
    notes = ["a point per tolerance; upper left is better; lines compare only where both were measured"]
    add_note(figure, "; ".join([*notes, *describe_grey(styles)]))
    return figure


def draw_speedup_by_devices(rows: DataFrame, virtual: DataFrame) -> Figure | None:
    """Draw speed-up over the serial run against devices, measured and virtual.

    Each step count has a panel.
    Only executors that were measured or replayed on several numbers of devices; None without them.
    """
    # data
    rows, replayed = _rows_on_several_devices(rows, virtual)
    shown = _choose_panels(rows, ["steps"])
    if not shown:
        return None

    # axes and marks
    figure, panels = new_panels(len(shown), 5.6, 3.9)
    styles = assign_looks(rows, most_of_family=MOST_SERIES)
    for axes, (steps,) in zip(panels, shown, strict=True):
        here = rows[rows["steps"] == steps]
        points = replayed[replayed["trial_id"].isin(here["trial_id"])]
        for (series, _), line in here.groupby(["series", "alike"]):
            models = points[points["trial_id"].isin(line["trial_id"])]
            _plot_devices(axes, line, models, styles[str(series)], str(series))
        _set_device_axes(axes, here, points)
        axes.set(xlabel="Devices", ylabel=_SAVED, title=f"{steps:.0f} steps")
        label_lines(axes, lambda name: name.removesuffix(_VIRTUAL))

    # labels
    add_question(figure, "How much latency do more devices save?")
    notes = ["filled: measured; open and dashed: virtual, replayed by a model from measured calls"]
    add_note(figure, "; ".join([*notes, "thin: as many times as devices, and none", *describe_grey(styles)]))
    return figure


def _tightest(rows: DataFrame) -> DataFrame:
    """Return the rows without those that go the way of another: at a looser tolerance, or on more devices."""
    places = DataFrame(
        [(key_without_parameter(row, "tolerance", "devices"), read_tolerance(row)) for _, row in rows.iterrows()],
        rows.index, ["key", "tolerance"],
    ).assign(devices=rows["devices"])  # fmt: skip
    tightest = places.groupby("key")["tolerance"].transform("min")
    kept = places[~(places["tolerance"] > tightest)]
    fewest = kept.groupby("key")["devices"].transform("min")
    return rows.loc[kept.index[~(kept["devices"] > fewest)]]


def _choose_panels(rows: DataFrame, columns: list[str]) -> list[tuple]:
    """Return the values of these columns that get a panel, sorted: those with most rows."""
    sizes = rows.groupby(columns).size().sort_index(ascending=False).sort_values(ascending=False, kind="stable")
    return sorted(one if isinstance(one, tuple) else (one,) for one in sizes.index[:MOST_PANELS])


def _rows_on_several_devices(rows: DataFrame, virtual: DataFrame) -> tuple[DataFrame, DataFrame]:
    """Return the rows measured or replayed on several numbers of devices, and all replays.

    Both have the column `speedup`.
    """
    # measured and replayed
    rows = rows.assign(
        series=[drop_parameter(name, "devices") for name in rows["series"]],
        alike=[key_without_parameter(row, "devices") for _, row in rows.iterrows()],
        speedup=speedups_over_serial(rows),
    )
    replayed = virtual.assign(speedup=virtual["serial_seconds"] / virtual["virtual_latency_seconds"])
    replayed = replayed.dropna(subset=["speedup", "devices"])

    # numbers of devices of each executor
    models = rows[["trial_id", "series", "alike"]].merge(replayed, on="trial_id")
    reach = pd.concat([rows.dropna(subset=["speedup"]), models]).groupby(["series", "alike"])["devices"].nunique()
    wide = reach.index[reach > 1]
    several = np.array([way in wide for way in zip(rows["series"], rows["alike"], strict=True)], dtype=bool)
    return rows[several], replayed


def _plot_refinements(axes: Axes, line: DataFrame, look: Look, label: str) -> None:
    above, exact = line[line["distance_to_serial"] > 0], line[line["distance_to_serial"] == 0]
    _plot_line(axes, above["refinement"], above["distance_to_serial"], look, look.legend_name(label))
    for p in exact["refinement"]:
        axes.plot(
            [p], [0], marker="v", markersize=8, color="white", markeredgecolor=look.color, zorder=5,
            transform=axes.get_xaxis_transform(), clip_on=False, in_layout=False,
        )  # fmt: skip


def _plot_curve(axes: Axes, curve: ExecutorCurve, look: Look) -> None:
    # all points with their intervals
    points = curve.points
    sides = [points["speedup"] - points["low"], points["high"] - points["speedup"]]
    axes.errorbar(
        points["distance"], points["speedup"], yerr=np.clip(np.nan_to_num(sides), 0.0, None), fmt="none",
        ecolor=look.color,
    )  # fmt: skip
    axes.plot(points["distance"], points["speedup"], look.marker, color=look.color, markersize=4, zorder=1)

    # the running best
    best = points[points["is_best"]]
    _plot_line(axes, best["distance"], best["speedup"], look, look.legend_name(curve.series))


def _plot_devices(axes: Axes, line: DataFrame, models: DataFrame, look: Look, series: str) -> None:
    # measured
    measured = line.dropna(subset=["speedup"]).sort_values(["devices", "trial_id"])
    low, high = measured["speedup_over_serial_low"], measured["speedup_over_serial_high"]
    sides = np.clip(np.nan_to_num([measured["speedup"] - low, high - measured["speedup"]]), 0.0, None)
    axes.errorbar(measured["devices"], measured["speedup"], yerr=sides, fmt="none", ecolor=look.color)
    _plot_line(axes, measured["devices"], measured["speedup"], look, look.legend_name(series))

    # virtual
    for _, model in models.groupby("trial_id"):
        model = model.sort_values("devices")
        axes.plot(
            model["devices"], model["speedup"], color=look.color, linewidth=1.0, linestyle=DASHES,
            marker=look.marker, markerfacecolor="white", markersize=6, label=f"{look.legend_name(series)}{_VIRTUAL}",
        )  # fmt: skip


def _set_device_axes(axes: Axes, rows: DataFrame, replayed: DataFrame) -> None:
    """Draw the lines of ideal speed-up and of none, and set both axes."""
    most = max([1.0, *rows["devices"], *replayed["devices"]])
    ideal = np.array([1.0, most])
    axes.plot(ideal, ideal, color=MUTED, linewidth=1.0, zorder=1, label=IDEAL)
    axes.axhline(1.0, color=INK, linewidth=0.8, zorder=1)

    devices = np.array([1.0, *rows["devices"], *replayed["devices"]])
    set_log_axis(axes, "x", devices)
    set_log_axis(axes, "y", np.array([1.0, most, *rows["speedup"], *replayed["speedup"]]))
    set_ticks(axes, devices)


def _plot_line(axes: Axes, x: Series, y: Series, look: Look, label: str) -> None:
    if not len(x):
        return
    axes.plot(
        x, y, color=look.color, linewidth=look.width, marker=look.marker, markersize=6.0, markeredgecolor="white",
        markeredgewidth=0.6, label=label,
    )  # fmt: skip
