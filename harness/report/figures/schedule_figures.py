"""The figures of schedules: where each puts its steps, and how error falls with their number."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from pandas import DataFrame, Series

from harness.report.analysis.alike import part_names
from harness.report.figures.plot_style import MUTED, log_axis, looks, new_figure, ticks_at
from harness.report.formats import one_line

MOST_PANELS = 4
_ERRORS = {
    "truncation_error": "Truncation error (relative RMS)",
    "fid": "FID (lower is better)",
}


def levels_by_step(rows: DataFrame, steps: DataFrame) -> Figure | None:
    """Return sigma against step, a panel per step count and a line per distinct schedule on one network.

    Of many step counts those with most schedules are shown, on the network with most of them. Rows with the same
    schedule are drawn once; where one name has several grids, as a search may find, the method is named too. None where
    no step count has two schedules.
    """
    found = DataFrame(_grids(rows, steps), columns=["network", "steps", "method", "schedule", "grid", "is_baseline"])
    if found.empty:
        return None
    found = found[found["network"] == found.groupby("network")["grid"].nunique().sort_index().idxmax()]
    found = found.drop_duplicates(["steps", "schedule", "grid"])
    several = found.groupby(["steps", "schedule"])["grid"].transform("nunique") > 1
    several = several.groupby(found["schedule"]).transform("any")
    found = found.assign(series=_told_apart(found["schedule"], several, found["method"]))
    sizes = found.groupby("steps")["series"].nunique()
    counts = sorted(sizes[sizes > 1].sort_index().sort_values(ascending=False, kind="stable").index[:MOST_PANELS])
    if not counts:
        return None
    found = found[found["steps"].isin(counts)]
    figure, panels = new_figure(2.8 + 3.4 * len(counts), max(4.8, 0.9 + 0.175 * found["series"].nunique()), len(counts))
    styles = looks(found)
    for axes, count in zip(panels, counts, strict=True):
        here = found[found["steps"] == count]
        for _, row in here.iterrows():
            look, grid = styles[row["series"]], np.array(row["grid"])
            axes.plot(
                np.arange(len(grid))[grid > 0], grid[grid > 0], color=look.color, linewidth=look.width,
                marker=look.marker, markersize=4.5, markeredgecolor="white", markeredgewidth=0.4, label=row["series"],
            )  # fmt: skip
        log_axis(axes, "y", np.array([level for grid in here["grid"] for level in grid if level > 0]))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(xlabel="Step", title=f"{count:.0f} steps")
    panels[0].set_ylabel("Noise level σ")
    _legend(figure, panels)
    network = one_line(str(found["network"].iloc[0]))
    figure.suptitle(f"on {network}; sampling runs from left to right", x=0.012, ha="left", fontsize=9, color=MUTED)
    return figure


def error_by_steps(rows: DataFrame, error: str) -> Figure | None:
    """Return an error column against the number of steps, a line per schedule and denoiser and a panel per solver.

    Denoisers that meet one schedule only are left out: they are compared elsewhere. None without two step counts and
    two schedules.
    """
    rows = rows[(rows["executor"] == "serial") & (rows[error] > 0)]
    if rows.empty:
        return None
    rows = rows.assign(
        schedule_name=part_names(rows, "schedule"),
        denoiser_name=part_names(rows, "denoiser"),
        solver_name=part_names(rows, "solver"),
    )
    way = ["network", "solver_name"]
    met = rows.groupby([*way, "denoiser_name"])["schedule_name"].transform("nunique")
    rows = rows[met > 1]
    tuned = (", " + rows["denoiser_name"] + " denoiser").where(rows["denoiser"] != "full", "")
    rows = rows.assign(series=rows["schedule_name"] + tuned)
    several = rows.groupby([*way, "series", "steps"])["series"].transform("size") > 1
    several = several.groupby(rows["series"]).transform("any")
    rows = rows.assign(series=_told_apart(rows["series"], several, rows["method"]))
    rows = rows[rows.groupby([*way, "series"])["steps"].transform("nunique") > 1]
    rows = rows[rows.groupby(way)["series"].transform("nunique") > 1]
    if rows.empty:
        return None
    sizes = rows.groupby(way).size()
    ways = sorted(sizes.sort_values(ascending=False, kind="stable").index[:MOST_PANELS])
    figure, panels = new_figure(2.8 + 3.8 * len(ways), max(4.8, 0.9 + 0.175 * rows["series"].nunique()), len(ways))
    styles = looks(rows)
    for axes, (network, solver) in zip(panels, ways, strict=True):
        here = rows[(rows["network"] == network) & (rows["solver_name"] == solver)]
        for series, line in here.groupby("series"):
            look, line = styles[str(series)], line.sort_values(["steps", "trial_id"])
            sides = [line[error] - line[f"{error}_low"], line[f"{error}_high"] - line[error]]
            axes.errorbar(
                line["steps"], line[error], yerr=np.clip(np.nan_to_num(sides), 0.0, None), color=look.color,
                linewidth=look.width, marker=look.marker, markersize=5.5, markeredgecolor="white", markeredgewidth=0.5,
                elinewidth=0.9, label=str(series),
            )  # fmt: skip
        axes.set_xscale("log")
        log_axis(axes, "x", here["steps"].to_numpy())
        log_axis(axes, "y", here[error].to_numpy())
        ticks_at(axes, here["steps"].to_numpy())
        axes.set(xlabel="Steps", title=f"{one_line(solver)} on {one_line(network)}")
    panels[0].set_ylabel(_ERRORS[error])
    _legend(figure, panels)
    return figure


def _grids(rows: DataFrame, steps: DataFrame) -> Iterator[tuple]:
    """Yield the levels of each row, baseline and serial rows first: the others repeat them."""
    ladders = {str(trial_id): line.sort_values("step") for trial_id, line in steps.groupby("trial_id")}
    order = rows.assign(
        _schedule=part_names(rows, "schedule"), _late=~rows["is_baseline"], _overlaps=rows["executor"] != "serial"
    )
    for _, row in order.sort_values(["_late", "_overlaps", "method", "trial_id"]).iterrows():
        ladder = ladders.get(row["trial_id"])
        if ladder is not None and len(ladder) == row["steps"]:
            grid = (*ladder["sigma"], ladder["sigma_next"].iloc[-1])
            yield row["network"], row["steps"], row["method"], row["_schedule"], grid, row["is_baseline"]


def _told_apart(names: Series, several: Series, methods: Series) -> list[str]:
    """Return the names on one line each, with the method where one name stands for several things."""
    names, methods = names.astype(str), methods.astype(str)  # pandas 3.0 adds no empty column of objects to a text
    return [one_line(name) for name in names.where(~several, names + " of " + methods)]


def _legend(figure: Figure, panels: list) -> None:
    """Name what any panel shows beside the panels, in the order of the names."""
    handles = {name: handle for axes in panels for handle, name in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend([handles[name] for name in sorted(handles)], sorted(handles), loc="outside right center")
