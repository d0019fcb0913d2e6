"""The figure of a search: every candidate that was tried, the front of what they showed, and what was chosen."""

from __future__ import annotations

from matplotlib.figure import Figure
from pandas import DataFrame

from harness.report.analysis.alike import part_names
from harness.report.analysis.pareto import pareto_front
from harness.report.figures.plot_style import INK, MUTED, log_axis, looks, new_figure
from harness.report.formats import one_line

MOST_PANELS = 4


def search_front(rows: DataFrame, searches: DataFrame) -> Figure | None:
    """Return FID against FLOPs of the candidates of each search, one panel per solver; None without searches.

    FIDs are those of the search's own images: few, and the same noise for all. The chosen candidate is marked where the
    search saw it; its FID in the leaderboard is that of other noise.
    """
    rows = rows.assign(solver_name=part_names(rows, "solver"))
    found = searches.merge(
        rows[["trial_id", "method", "network", "solver_name", "steps", "is_baseline"]], on="trial_id"
    )
    found = found.dropna(subset=["fid", "flops_per_image"])
    if found.empty:
        return None
    found = found.assign(
        series=[one_line(name) for name in found["method"]],
        gflops=found["flops_per_image"] / 1e9,
        panel=found["solver_name"] + ", " + found["steps"].map("{:.0f}".format) + " steps, " + found["network"],
    )
    panels = sorted(found["panel"].unique())[:MOST_PANELS]
    figure, all_axes = new_figure(3.0 + 4.4 * len(panels), 4.8, len(panels))
    styles = looks(found)
    for axes, panel in zip(all_axes, panels, strict=True):
        here = found[found["panel"] == panel]
        for (series, _), mine in here.groupby(["series", "trial_id"]):  # a label may stand for several searches
            look = styles[str(series)]
            tried, final = mine[~mine["is_final"]], mine[mine["is_chosen"]]
            front = tried[pareto_front(tried["gflops"].to_numpy(), tried["fid"].to_numpy())].sort_values("gflops")
            axes.plot(tried["gflops"], tried["fid"], linestyle="", marker=".", color=look.color, alpha=0.45)
            axes.plot(
                front["gflops"], front["fid"], color=look.color, linewidth=1.3, drawstyle="steps-post", label=series
            )
            chosen = tried[tried["candidate_json"].isin(final["candidate_json"])]
            axes.plot(chosen["gflops"], chosen["fid"], linestyle="", marker="*", markersize=13, color=look.color,
                      markeredgecolor=INK, zorder=5)  # fmt: skip
        log_axis(axes, "y", here["fid"].to_numpy())
        axes.set(xlabel="GFLOPs per image (2 per multiply-add)", title=one_line(panel))
    all_axes[0].set_ylabel("FID on the search's own images (lower is better)")
    handles = {
        name: handle for axes in all_axes for handle, name in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend([*handles.values()], [*handles], loc="outside right center")
    figure.suptitle("dots: candidates; line: their front; star: chosen", x=0.012, ha="left", fontsize=9, color=MUTED)
    return figure
