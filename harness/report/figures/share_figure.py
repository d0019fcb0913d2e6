"""The figure of the network's share that ran at each noise level."""

from __future__ import annotations

from matplotlib.figure import Figure
from pandas import DataFrame, Series

from harness.report.analysis.alike import name_parts
from harness.report.figures.margin_labels import label_lines
from harness.report.figures.plot_style import add_note, add_question, new_figure, set_log_axis, unique_names
from harness.report.figures.series_looks import MOST_SERIES, assign_looks, describe_grey
from harness.report.formats import one_line
from harness.schema.trial_name import trial_name

WHOLE = 0.999
"""A share from which on the whole network ran."""


def draw_network_share(rows: DataFrame, steps: DataFrame) -> Figure | None:
    """Draw the share of the network's operations in each step against sigma, one line per row.

    `rows` are those of one class, drawn where a step runs less than the whole network.
    Only the solver with most of these is drawn: depths look the same under each.
    Of many rows there is one per method first.
    None without such rows.
    """
    # data: steps of the rows that leave a part of the network out
    known = steps.dropna(subset=["network_share", "sigma"])
    least = known.groupby("trial_id")["network_share"].min()
    partial = rows[(rows["denoiser"] != "full") & rows["trial_id"].isin(least.index[least < WHOLE])]
    if partial.empty:
        return None
    solver, partial = _choose_lines(partial)
    shown = partial.iloc[:MOST_SERIES]

    # axes and marks
    figure, (axes,) = new_figure(8.4, 4.6)
    looks = assign_looks(shown)
    for _, row in shown.iterrows():
        line = known[known["trial_id"] == row["trial_id"]].sort_values("sigma")
        look = looks[row["series"]]
        axes.plot(
            line["sigma"], line["network_share"], color=look.color, marker=look.marker, markersize=6,
            markeredgecolor="white", markeredgewidth=0.6, label=look.legend_name(row["series"]), clip_on=False,
        )  # fmt: skip
    set_log_axis(axes, "x", known.loc[known["trial_id"].isin(shown["trial_id"]), "sigma"].to_numpy())
    axes.invert_xaxis()
    axes.set_ylim(0.0, 1.0)

    # labels and legend
    axes.set(
        xlabel="Noise level σ of the step (sampling runs from left to right)",
        ylabel="Share of the whole network's operations",
    )
    label_lines(axes)
    add_question(figure, f"How much of the network runs at each noise level, under {one_line(solver)}?")
    more = [f"{len(partial) - len(shown)} more rows in the tables"] if len(partial) > len(shown) else []
    add_note(figure, "; ".join(["a gate's own operations may lie above 1", *describe_grey(looks), *more]))
    return figure


def _choose_lines(partial: DataFrame) -> tuple[str, DataFrame]:
    """Return the solver with most rows, and its rows with `series`: one per method first, of the usual step count."""
    solvers = name_parts(partial, "solver")
    solver = str(solvers.value_counts(sort=True).sort_index().idxmax())
    partial = partial[solvers == solver].sort_values(["method", "network", "nfe", "trial_id"])
    names = [one_line(trial_name(row["network"], row["method"], row["steps"])) for _, row in partial.iterrows()]
    partial = partial.assign(series=Series(unique_names(names), partial.index, dtype=object))

    # the step count of most rows first, then networks in turn
    usual = partial["steps"].value_counts().sort_index().idxmax()
    alike = partial[partial["steps"] == usual]
    partial = alike if alike["method"].nunique() > 1 else partial  # methods are compared at one step count
    ordered = partial.assign(_other=partial["steps"] != usual)
    turn = ordered.groupby(["_other", "method"]).cumcount()
    ordered = ordered.assign(_turn=turn).sort_values(["_other", "_turn", "method", "trial_id"])
    return solver, ordered.drop(columns=["_other", "_turn"])
