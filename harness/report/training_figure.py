"""The figure of quality against training: networks that were trained with several budgets, all else equal."""

from __future__ import annotations

from matplotlib.figure import Figure
from pandas import DataFrame

from harness.report.formats import one_line
from harness.report.plot_style import log_axis, looks, new_figure


def quality_by_training(rows: DataFrame) -> Figure | None:
    """Return FID against training seconds, one line per network card with several budgets; None without such cards.

    Only rows of whole networks under the solver and step count that most of them share; their preparation is training.
    """
    whole = rows[(rows["denoiser"] == "full") & rows["fid"].notna() & (rows["prepare_seconds"] > 0)]
    budgets = whole.groupby("network_like")["network"].nunique()
    whole = whole[whole["network_like"].isin(budgets.index[budgets > 1])]
    if whole.empty:
        return None
    ways = whole.groupby(["method", "steps"])["network"].nunique().sort_index()
    way = ways.index[int(ways.argmax())]
    method, steps = str(way[0]), float(way[1])
    whole = whole[(whole["method"] == method) & (whole["steps"] == steps)]
    whole = whole.assign(series=[one_line(name) for name in whole["network_like"]])
    figure, (axes,) = new_figure(7.2, 4.6)
    for series, look in looks(whole).items():
        line = whole[whole["series"] == series].sort_values("prepare_seconds")
        sides = [(line["fid"] - line["fid_low"]).fillna(0), (line["fid_high"] - line["fid"]).fillna(0)]
        axes.errorbar(
            line["prepare_seconds"], line["fid"], yerr=sides, color=look.color, marker=look.marker, label=series,
            elinewidth=0.9, capsize=2,
        )  # fmt: skip
    log_axis(axes, "x", whole["prepare_seconds"].to_numpy())
    log_axis(axes, "y", whole["fid"].to_numpy())
    axes.set(
        xlabel="Training (device-seconds); every point is a training of its own, to the end of its budget",
        ylabel="FID (lower is better)",
        title=f"Quality against training, {one_line(method)} with {steps:.0f} steps",
    )
    figure.legend(loc="outside right center")
    return figure
