"""The figure of quality against training, for networks with several budgets, all else equal."""

from __future__ import annotations

from matplotlib.figure import Figure
from pandas import DataFrame

from harness.report.analysis.alike import method_parts_key
from harness.report.figures.plot_style import assign_looks, new_figure, set_log_axis
from harness.report.formats import axis_label, one_line


def draw_quality_by_training(rows: DataFrame) -> Figure | None:
    """Draw FID against training seconds, one line per network card with several budgets.

    Only rows of whole networks count, since their preparation is training.
    They share parts, parameters and step count: those that most such networks have.
    A card whose size was changed too is another line.
    None without such cards.
    """
    # data: cards with several budgets
    whole = rows[(rows["denoiser"] == "full") & rows["fid"].notna() & (rows["prepare_seconds"] > 0)]
    whole = whole.assign(parts=[method_parts_key(row) for _, row in whole.iterrows()])
    line = ["network_like", "parameters", "parts", "steps"]
    whole = whole[whole.groupby(line, dropna=False)["network"].transform("nunique") > 1]
    if whole.empty:
        return None

    # the parts and step count of most networks
    ways = whole.groupby(["parts", "steps"])["network"].nunique().sort_index()
    parts, steps = ways.index[int(ways.argmax())]
    whole = whole[(whole["parts"] == parts) & (whole["steps"] == steps)]
    method = min(whole["method"])

    # series
    several = whole.groupby("network_like")["parameters"].transform("nunique") > 1
    names = whole["network_like"].astype(str)
    names = names.where(~several, names + whole["parameters"].map(", {:.0f} parameters".format).astype(str))
    whole = whole.assign(series=[one_line(name) for name in names])

    # axes and marks
    figure, (axes,) = new_figure(7.2, 4.6)
    for series, look in assign_looks(whole).items():
        line = whole[whole["series"] == series].sort_values("prepare_seconds")
        sides = [(line["fid"] - line["fid_low"]).fillna(0), (line["fid_high"] - line["fid"]).fillna(0)]
        axes.errorbar(
            line["prepare_seconds"], line["fid"], yerr=sides, color=look.color, marker=look.marker, label=series,
            elinewidth=0.9, capsize=2,
        )  # fmt: skip
    set_log_axis(axes, "x", whole["prepare_seconds"].to_numpy())
    set_log_axis(axes, "y", whole["fid"].to_numpy())

    # labels and legend
    axes.set(
        xlabel="Training (device-seconds); every point is a training of its own, to the end of its budget",
        ylabel=axis_label("fid"),
        title=f"Quality against training, {one_line(method)} with {steps:.0f} steps",
    )
    figure.legend(loc="outside right center")
    return figure
