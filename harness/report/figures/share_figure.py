"""The figure of the network's share that ran at each noise level."""

from __future__ import annotations

import seaborn as sns
from matplotlib.figure import Figure
from pandas import DataFrame

from harness.report.analysis.alike import name_parts
from harness.report.figures.plot_style import assign_looks, new_figure, set_log_axis
from harness.report.formats import one_line

MOST_LINES = 14


def draw_network_share(rows: DataFrame, steps: DataFrame) -> Figure | None:
    """Draw the share of the network's operations in each step against sigma, one line per row.

    `rows` are those of one class, drawn where the denoiser is not the whole network.
    Only the solver with most of these is drawn: depths look the same under each.
    None without such rows.
    """
    # data: rows of one solver
    partial = rows[rows["denoiser"] != "full"]
    if partial.empty:
        return None
    solvers = name_parts(partial, "solver")
    solver = solvers.value_counts(sort=True).sort_index().idxmax()
    partial = partial[solvers == solver].sort_values(["method", "network", "nfe", "trial_id"]).head(MOST_LINES)

    # series and their steps
    several = partial["network"].nunique() > 1
    names = partial["method"] + " @ " + partial["network"] if several else partial["method"]
    partial = partial.assign(series=[one_line(name) for name in names])
    known = steps[steps["trial_id"].isin(partial["trial_id"])].dropna(subset=["network_share", "sigma"])
    if known.empty:
        return None

    # axes and marks
    figure, (axes,) = new_figure(8.4, 4.6)
    styles = assign_looks(partial)
    for _, row in partial.iterrows():
        line = known[known["trial_id"] == row["trial_id"]]
        look = styles[row["series"]]
        sns.lineplot(
            x=line["sigma"], y=line["network_share"], ax=axes, color=look.color, marker=look.marker, errorbar=None,
            label=row["series"], legend=False,
        )  # fmt: skip
    set_log_axis(axes, "x", known["sigma"].to_numpy())
    axes.invert_xaxis()

    # labels and legend
    axes.set(
        xlabel="Noise level σ of the step (sampling runs from left to right)",
        ylabel="Share of the whole network's operations",
        title=f"How much of the network runs, under {one_line(str(solver))}",
    )
    axes.set_ylim(bottom=0)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center")
    return figure
