"""The figures of schedules: where each puts its steps, and how error falls with their number."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from pandas import DataFrame, Series

from harness.report.analysis.alike import name_parts
from harness.report.analysis.limits import BELOW_LIMIT, LimitFid
from harness.report.figures.limit_marks import mark_below_limit, plot_limits
from harness.report.figures.margin_labels import label_lines
from harness.report.figures.plot_style import add_note, add_question, new_panels, set_log_axis, set_ticks
from harness.report.figures.series_looks import Look, assign_looks, describe_grey, with_colors
from harness.report.formats import axis_label, one_line
from harness.schema import METRICS

MOST_PANELS = 4
_BEFORE_LAST = -2
"""Schedules end at one level: they are named by the level before it."""
_WAY = ["network", "solver_name"]


def draw_levels_by_step(rows: DataFrame, steps: DataFrame) -> Figure | None:
    """Draw sigma against step, a line per distinct schedule on one network.

    Each step count has a panel.
    Of many step counts those with most schedules are shown, on the network with most of them.
    Rows with the same schedule are drawn once.
    Where one name has several grids, as a search may find, the method is named too.
    None where no step count has two schedules.
    """
    # data: distinct grids, and the step counts with most of them
    found = _distinct_grids(rows, steps)
    sizes = found.groupby("steps")["series"].nunique()
    counts = sorted(sizes[sizes > 1].sort_index().sort_values(ascending=False, kind="stable").index[:MOST_PANELS])
    if not counts:
        return None
    found = found[found["steps"].isin(counts)]

    # axes and marks
    figure, panels = new_panels(len(counts), 5.4, 3.7)
    styles = assign_looks(found, list(found.sort_values(["fid", "series"])["series"].unique()))
    for axes, count in zip(panels, counts, strict=True):
        here = found[found["steps"] == count]
        for _, row in here.iterrows():
            _plot_grid(axes, row, styles[row["series"]])
        set_log_axis(axes, "y", np.array([level for grid in here["grid"] for level in grid if level > 0]))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(xlabel="Step", ylabel="Noise level σ", title=f"{count:.0f} steps")
        label_lines(axes, anchor=_BEFORE_LAST)

    # labels
    add_question(figure, "Where does each schedule put its steps?")
    network = one_line(str(found["network"].iloc[0]))
    add_note(figure, "; ".join([f"on {network}", "sampling runs from left to right", *describe_grey(styles)]))
    return figure


def draw_error_by_steps(rows: DataFrame, error: str, limits: dict[str, LimitFid] | None = None) -> Figure | None:
    """Draw an error column against the number of steps, a line per schedule and denoiser.

    Each solver has a panel.
    Denoisers with one schedule only are left out: other figures compare them.
    `limits` are those of networks, where the error is FID.
    None without two step counts and two schedules.
    """
    # data: series with two step counts, panels with two series
    limits = limits or {}
    rows = _rows_by_schedule(rows[(rows["executor"] == "serial") & (rows[error] > 0)])
    if rows.empty:
        return None
    sizes = rows.groupby(_WAY).size()
    ways = sorted(sizes.sort_values(ascending=False, kind="stable").index[:MOST_PANELS])

    # axes and marks
    figure, panels = new_panels(len(ways), 5.8, 4.4)
    styles = assign_looks(rows, list(rows.sort_values([error, "series"])["series"].unique()))
    has_below = False
    for axes, (network, solver) in zip(panels, ways, strict=True):
        here = rows[(rows["network"] == network) & (rows["solver_name"] == solver)]
        for series, line in here.groupby("series"):
            _plot_error(axes, line.sort_values(["steps", "trial_id"]), error, styles[str(series)], str(series))
        axes.set_xscale("log")
        set_log_axis(axes, "x", here["steps"].to_numpy())
        set_log_axis(axes, "y", here[error].to_numpy())
        set_ticks(axes, here["steps"].to_numpy())
        plot_limits(axes, {name: limits[name] for name in limits if name == network})
        has_below |= error == "fid" and mark_below_limit(axes, here, "steps", limits)
        axes.set(xlabel="Steps", ylabel=axis_label(error), title=f"{one_line(solver)} on {one_line(network)}")
        label_lines(axes)

    # labels
    add_question(figure, f"How does {_in_a_sentence(METRICS[error].label)} fall with the number of steps?")
    notes = [*describe_grey(styles), *([f"ring: {BELOW_LIMIT}"] if has_below else [])]
    if notes:
        add_note(figure, "; ".join(notes))
    return figure


def _in_a_sentence(label: str) -> str:
    """Return the label of a metric without its unit, in lower case unless it is an acronym."""
    name = label.partition(",")[0]
    return name if name.isupper() else name[0].lower() + name[1:]


def _distinct_grids(rows: DataFrame, steps: DataFrame) -> DataFrame:
    """Return the distinct grids of the network with most of them, each with its series."""
    found = DataFrame(
        _level_grids(rows, steps),
        columns=["network", "steps", "method", "schedule", "grid", "fid", "is_baseline", "family_color"],
    )
    if found.empty:
        return found.assign(series="")

    # one network, each grid once
    found = found[found["network"] == found.groupby("network")["grid"].nunique().sort_index().idxmax()]
    found = found.drop_duplicates(["steps", "schedule", "grid"])

    # a name that has several grids at some step count is made longer everywhere
    several = found.groupby(["steps", "schedule"])["grid"].transform("nunique") > 1
    several = several.groupby(found["schedule"]).transform("any")
    return found.assign(series=_distinct_names(found["schedule"], several, found["method"]))


def _level_grids(rows: DataFrame, steps: DataFrame) -> Iterator[tuple]:
    """Yield the levels of each row, baseline and serial rows first: the others repeat them."""
    ladders = {str(trial_id): line.sort_values("step") for trial_id, line in steps.groupby("trial_id")}
    order = with_colors(rows).assign(
        _schedule=name_parts(rows, "schedule"), _late=~rows["is_baseline"], _overlaps=rows["executor"] != "serial"
    )

    for _, row in order.sort_values(["_late", "_overlaps", "method", "trial_id"]).iterrows():
        ladder = ladders.get(row["trial_id"])
        if ladder is not None and len(ladder) == row["steps"]:
            grid = (*ladder["sigma"], ladder["sigma_next"].iloc[-1])
            yield (
                row["network"], row["steps"], row["method"], row["_schedule"], grid, row["fid"], row["is_baseline"],
                row["family_color"],
            )  # fmt: skip


def _rows_by_schedule(rows: DataFrame) -> DataFrame:
    """Return the rows that are comparable by schedule, with `solver_name` and `series`."""
    if rows.empty:
        return rows
    rows = rows.assign(
        schedule_name=name_parts(rows, "schedule"),
        denoiser_name=name_parts(rows, "denoiser"),
        solver_name=name_parts(rows, "solver"),
    )

    # denoisers with several schedules
    schedules = rows.groupby([*_WAY, "denoiser_name"])["schedule_name"].transform("nunique")
    rows = rows[schedules > 1]

    # series, with the method where several rows would share a point
    tuned = (", " + rows["denoiser_name"] + " denoiser").where(rows["denoiser"] != "full", "")
    rows = rows.assign(series=rows["schedule_name"] + tuned)
    several = rows.groupby([*_WAY, "series", "steps"])["series"].transform("size") > 1
    several = several.groupby(rows["series"]).transform("any")
    rows = rows.assign(series=_distinct_names(rows["series"], several, rows["method"]))

    # two step counts a series, two series a panel
    rows = rows[rows.groupby([*_WAY, "series"])["steps"].transform("nunique") > 1]
    return rows[rows.groupby(_WAY)["series"].transform("nunique") > 1]


def _plot_grid(axes: Axes, row: Series, look: Look) -> None:
    grid = np.array(row["grid"])
    axes.plot(
        np.arange(len(grid))[grid > 0], grid[grid > 0], color=look.color, linewidth=look.width,
        marker=look.marker, markersize=4.5, markeredgecolor="white", markeredgewidth=0.4,
        label=look.legend_name(row["series"]),
    )  # fmt: skip


def _plot_error(axes: Axes, line: DataFrame, error: str, look: Look, series: str) -> None:
    sides = [line[error] - line[f"{error}_low"], line[f"{error}_high"] - line[error]]
    axes.errorbar(
        line["steps"], line[error], yerr=np.clip(np.nan_to_num(sides), 0.0, None), color=look.color,
        linewidth=look.width, marker=look.marker, markersize=5.5, markeredgecolor="white", markeredgewidth=0.5,
        elinewidth=0.9, label=look.legend_name(series),
    )  # fmt: skip


def _distinct_names(names: Series, several: Series, methods: Series) -> list[str]:
    """Return the names on one line each, with the method where one name stands for several things."""
    # pandas 3.0 adds no empty column of objects to a text
    names, methods = names.astype(str), methods.astype(str)
    return [one_line(name) for name in names.where(~several, names + " of " + methods)]
