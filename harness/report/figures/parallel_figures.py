"""The figures of parallel executors: how refinements close in on the serial answer, and what devices buy.

They are drawn once, over all rows that differ in the number of devices alone (`executor_rows.overlapping`). A time
replayed by a model is drawn open and dashed, and is called virtual.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from pandas import DataFrame, Series

from harness.report.analysis.equal_distance import curves
from harness.report.analysis.executor_rows import all_but, speedups, tolerance, without
from harness.report.figures.plot_style import INK, MUTED, Look, log_axis, looks, new_figure, ticks_at
from harness.report.formats import one_line

MOST_PANELS = 4
_DASHES = (0, (4, 2))


def error_by_refinement(rows: DataFrame, refinements: DataFrame) -> Figure | None:
    """Return the distance to the serial answer after each refinement: a line per row, a panel per executor and steps.

    Where the answer is the serial one bit by bit, a triangle stands on the axis: no logarithm holds a zero.
    """
    known = refinements.dropna(subset=["refinement", "distance_to_serial"]).sort_values("refinement")
    rows = rows[rows["trial_id"].isin(known["trial_id"])]
    shown = _panels(rows, ["executor", "steps"])
    if not shown:
        return None
    figure, panels = new_figure(3.4 + 3.6 * len(shown), _height(rows), len(shown))
    styles = looks(rows)
    lines = {str(trial_id): line for trial_id, line in known.groupby("trial_id")}
    for axes, (executor, steps) in zip(panels, shown, strict=True):
        here = rows[(rows["executor"] == executor) & (rows["steps"] == steps)]
        for _, row in here.iterrows():
            line, look = lines[row["trial_id"]], styles[row["series"]]
            above, exact = line[line["distance_to_serial"] > 0], line[line["distance_to_serial"] == 0]
            _line(axes, above["refinement"], above["distance_to_serial"], look, row["series"])
            for p in exact["refinement"]:
                axes.plot(
                    [p], [0], marker="v", markersize=8, color="white", markeredgecolor=look.color, zorder=5,
                    transform=axes.get_xaxis_transform(), clip_on=False, in_layout=False,
                )  # fmt: skip
        values = known[known["trial_id"].isin(here["trial_id"])]["distance_to_serial"]
        log_axis(axes, "y", values[values > 0].to_numpy())
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(xlabel="Refinements done", title=f"{one_line(executor)}, {steps:.0f} steps")
    panels[0].set_ylabel("Distance to the serial answer (relative RMS)")
    zero = "; triangle on the axis: bit by bit the serial answer" if (known["distance_to_serial"] == 0).any() else ""
    _finish(figure, panels, f"one batch from the same noise; images that have stopped keep their states{zero}")
    return figure


def iterations_by_tolerance(rows: DataFrame) -> Figure | None:
    """Return refinements against the executor's tolerance, their mean and their most; None without two tolerances."""
    rows = rows.assign(tolerance=[tolerance(row) for _, row in rows.iterrows()])
    rows = rows[(rows["tolerance"] > 0) & rows["iterations"].notna()]
    rows = rows.assign(
        series=[without(row["series"], "tolerance") + f", {row['steps']:.0f} steps" for _, row in rows.iterrows()],
        alike=[all_but(row, "tolerance") for _, row in rows.iterrows()],
    )
    rows = rows[rows.groupby("alike")["tolerance"].transform("nunique") > 1]
    executors = sorted(rows["executor"].unique())[:MOST_PANELS]
    if not executors:
        return None
    figure, panels = new_figure(4.0 + 4.0 * len(executors), _height(rows), len(executors))
    styles = looks(rows)
    for axes, executor in zip(panels, executors, strict=True):
        here = rows[rows["executor"] == executor]
        for _, line in here.sort_values("tolerance").groupby("alike"):
            series = line["series"].iloc[0]
            look = styles[series]
            _line(axes, line["tolerance"], line["iterations"], look, series)
            axes.plot(line["tolerance"], line["iterations_most"], color=look.color, linewidth=1.0, linestyle=_DASHES)
        log_axis(axes, "x", here["tolerance"].to_numpy())
        axes.set(xlabel="Tolerance", title=f"Refinements to a tolerance, {one_line(executor)}")
        axes.set_ylim(bottom=0)
    panels[0].set_ylabel("Refinements until an image stops")
    _finish(figure, panels, "line: mean over images; dashes: the image that takes most")
    return figure


def speedup_by_distance(rows: DataFrame) -> Figure | None:
    """Return speed-up against distance to the serial answer: a line per executor, a panel per steps.

    Only executors that were run to several tolerances; None where none was. The line joins what is on the running best,
    which equal distance is read off (`equal_distance`).
    """
    lines = curves(rows)
    if not lines:
        return None
    counted = DataFrame([{"steps": line.steps, "series": line.series, "is_baseline": False} for line in lines])
    shown = _panels(counted, ["steps"])
    figure, panels = new_figure(3.4 + 3.6 * len(shown), _height(counted), len(shown))
    styles = looks(counted)
    for axes, (steps,) in zip(panels, shown, strict=True):
        here = [line for line in lines if line.steps == steps]
        for line in here:
            look, points = styles[line.series], line.points
            sides = [points["speedup"] - points["low"], points["high"] - points["speedup"]]
            axes.errorbar(
                points["distance"], points["speedup"], yerr=np.clip(np.nan_to_num(sides), 0.0, None), fmt="none",
                ecolor=look.color,
            )  # fmt: skip
            axes.plot(points["distance"], points["speedup"], look.marker, color=look.color, markersize=4, zorder=1)
            best = points[points["is_best"]]
            _line(axes, best["distance"], best["speedup"], look, line.series)
        every = pd.concat([line.points for line in here])
        axes.axhline(1.0, color=INK, linewidth=0.8, zorder=1)
        log_axis(axes, "x", every["distance"].to_numpy())
        log_axis(axes, "y", every["speedup"].to_numpy())
        axes.set(xlabel="Distance to the serial answer (relative RMS)", title=f"{steps:.0f} steps")
    panels[0].set_ylabel("Serial latency over latency (one image alone)")
    _finish(figure, panels, "a point per tolerance; upper left is better; lines compare only where both were measured")
    return figure


def speedup_by_devices(rows: DataFrame, virtual: DataFrame) -> Figure | None:
    """Return the serial latency of the same block over latency, against devices, measured and virtual, by step count.

    Only for what was measured or replayed on more than one number of devices; None where nothing was.
    """
    rows = rows.assign(
        series=[without(name, "devices") for name in rows["series"]],
        alike=[all_but(row, "devices") for _, row in rows.iterrows()],
        speedup=speedups(rows),
    )
    replayed = virtual.assign(speedup=virtual["serial_seconds"] / virtual["virtual_latency_seconds"])
    replayed = replayed.dropna(subset=["speedup", "devices"])
    models = rows[["trial_id", "series", "alike"]].merge(replayed, on="trial_id")
    reach = pd.concat([rows.dropna(subset=["speedup"]), models]).groupby(["series", "alike"])["devices"].nunique()
    wide = reach.index[reach > 1]
    rows = rows[np.array([way in wide for way in zip(rows["series"], rows["alike"], strict=True)], dtype=bool)]
    shown = _panels(rows, ["steps"])
    if not shown:
        return None
    figure, panels = new_figure(3.4 + 3.6 * len(shown), _height(rows), len(shown))
    styles = looks(rows)
    for axes, (steps,) in zip(panels, shown, strict=True):
        here = rows[rows["steps"] == steps]
        points = replayed[replayed["trial_id"].isin(here["trial_id"])]
        most = max([1.0, *here["devices"], *points["devices"]])
        for (series, _), line in here.groupby(["series", "alike"]):
            look = styles[str(series)]
            measured = line.dropna(subset=["speedup"]).sort_values(["devices", "trial_id"])
            low, high = measured["speedup_over_serial_low"], measured["speedup_over_serial_high"]
            sides = np.clip(np.nan_to_num([measured["speedup"] - low, high - measured["speedup"]]), 0.0, None)
            axes.errorbar(measured["devices"], measured["speedup"], yerr=sides, fmt="none", ecolor=look.color)
            _line(axes, measured["devices"], measured["speedup"], look, str(series))
            for _, model in points[points["trial_id"].isin(line["trial_id"])].groupby("trial_id"):
                model = model.sort_values("devices")
                axes.plot(
                    model["devices"], model["speedup"], color=look.color, linewidth=1.0, linestyle=_DASHES,
                    marker=look.marker, markerfacecolor="white", markersize=6, label=f"{series}, virtual",
                )  # fmt: skip
        ideal = np.array([1.0, most])
        axes.plot(ideal, ideal, color=MUTED, linewidth=1.0, zorder=1, label="ideal: as many times as devices")
        axes.axhline(1.0, color=INK, linewidth=0.8, zorder=1)
        devices = np.array([1.0, *here["devices"], *points["devices"]])
        log_axis(axes, "x", devices)
        log_axis(axes, "y", np.array([1.0, most, *here["speedup"], *points["speedup"]]))
        ticks_at(axes, devices)
        axes.set(xlabel="Devices", title=f"{steps:.0f} steps")
    panels[0].set_ylabel("Serial latency over latency (one image alone)")
    _finish(figure, panels, "filled: measured; open and dashed: virtual, replayed by a model from measured calls")
    return figure


def _panels(rows: DataFrame, columns: list[str]) -> list[tuple]:
    """Return the values of these columns that get a panel: of many those with most rows, in their order."""
    sizes = rows.groupby(columns).size().sort_index(ascending=False).sort_values(ascending=False, kind="stable")
    return sorted(one if isinstance(one, tuple) else (one,) for one in sizes.index[:MOST_PANELS])


def _line(axes: Axes, x: Series, y: Series, look: Look, label: str) -> None:
    if not len(x):
        return
    axes.plot(
        x, y, color=look.color, linewidth=look.width, marker=look.marker, markersize=6.0, markeredgecolor="white",
        markeredgewidth=0.6, label=label,
    )  # fmt: skip


def _height(rows: DataFrame) -> float:
    """Return the inches that a legend of these rows needs beside the axes."""
    return max(4.6, 1.2 + 0.35 * rows["series"].nunique())


def _finish(figure: Figure, panels: list[Axes], note: str) -> None:
    """Put a legend of what any panel shows beside the panels, and a note above them."""
    handles = {name: handle for axes in panels for handle, name in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend([handles[name] for name in sorted(handles)], sorted(handles), loc="outside right center")
    figure.suptitle(note, x=0.012, ha="left", fontsize=9, color=MUTED)
