"""The figure of a search: every candidate that was tried, their front, and the chosen one."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pandas import DataFrame

from harness.report.analysis.alike import name_parts
from harness.report.analysis.pareto import pareto_front
from harness.report.figures.margin_labels import label_lines
from harness.report.figures.plot_style import (
    INK,
    add_note,
    add_question,
    new_panels,
    set_log_axis,
)
from harness.report.figures.series_looks import Look, assign_looks, describe_grey, with_colors
from harness.report.formats import axis_label, one_line

MOST_PANELS = 4


def draw_search_front(rows: DataFrame, searches: DataFrame) -> Figure | None:
    """Draw FID against FLOPs of each search's candidates, a panel per solver; None without searches.

    FIDs are those of the search's own images: few, from the same noise for all.
    The chosen candidate is marked at this FID; that in the leaderboard is of other noise.
    No limit of a network is drawn: that is of another number of images.
    """
    # data: candidates with their panel
    rows = with_colors(rows).assign(solver_name=name_parts(rows, "solver"))
    named = ["trial_id", "method", "network", "solver_name", "steps", "is_baseline", "family_color"]
    found = searches.merge(rows[named], on="trial_id")
    found = found.dropna(subset=["fid", "flops_per_image"])
    if found.empty:
        return None
    found = found.assign(
        series=[one_line(name) for name in found["method"]],
        gflops=found["flops_per_image"] / 1e9,
        panel=found["solver_name"] + ", " + found["steps"].map("{:.0f}".format) + " steps, " + found["network"],
    )
    panels = sorted(found["panel"].unique())[:MOST_PANELS]

    # axes and marks
    figure, all_axes = new_panels(len(panels), 5.6, 4.2)
    styles = assign_looks(found)
    for axes, panel in zip(all_axes, panels, strict=True):
        here = found[found["panel"] == panel]
        # a label may stand for several searches
        for (series, _), candidates in here.groupby(["series", "trial_id"]):
            _plot_search(axes, candidates, styles[str(series)], str(series))
        set_log_axis(axes, "y", here["fid"].to_numpy())
        axes.set(xlabel="GFLOPs per image (2 per multiply-add)", title=one_line(panel),
                 ylabel=axis_label("fid", " on the search's own images"))  # fmt: skip
        label_lines(axes)

    # labels
    add_question(figure, "What did the search try, and what did it choose?")
    notes = ["small marks: candidates; line: their front; large mark: chosen", *describe_grey(styles)]
    add_note(figure, "; ".join(notes))
    return figure


def _plot_search(axes: Axes, candidates: DataFrame, look: Look, series: str) -> None:
    tried, final = candidates[~candidates["is_final"]], candidates[candidates["is_chosen"]]

    # candidates and their front
    front = tried[pareto_front(tried["gflops"].to_numpy(), tried["fid"].to_numpy())].sort_values("gflops")
    axes.plot(tried["gflops"], tried["fid"], linestyle="", marker=look.marker, markersize=3.5, color=look.color,
              alpha=0.45, markeredgewidth=0)  # fmt: skip
    axes.plot(front["gflops"], front["fid"], color=look.color, linewidth=1.3, drawstyle="steps-post")

    # the chosen one
    chosen = tried[tried["candidate_json"].isin(final["candidate_json"])]
    axes.plot(chosen["gflops"], chosen["fid"], linestyle="", marker=look.marker, markersize=10, color=look.color,
              markeredgecolor=INK, zorder=5, label=look.legend_name(series))  # fmt: skip
