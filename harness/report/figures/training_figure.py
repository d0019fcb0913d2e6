"""The figure of quality against training: networks that were trained with several budgets, all else equal."""

from __future__ import annotations

from matplotlib.figure import Figure
from pandas import DataFrame

from harness.report.analysis.alike import parts_key
from harness.report.figures.plot_style import log_axis, looks, new_figure
from harness.report.formats import one_line


def quality_by_training(rows: DataFrame) -> Figure | None:
    """Return FID against training seconds, one line per network card with several budgets; None without such cards.

    Only rows of whole networks under the parts, with all their parameters, and the step count that most of them share;
    their preparation is training. A card that was changed in its size too is another line.
    """
    whole = rows[(rows["denoiser"] == "full") & rows["fid"].notna() & (rows["prepare_seconds"] > 0)]
    whole = whole.assign(parts=[parts_key(row) for _, row in whole.iterrows()])
    line = ["network_like", "parameters", "parts", "steps"]
    whole = whole[whole.groupby(line, dropna=False)["network"].transform("nunique") > 1]
    if whole.empty:
        return None
    ways = whole.groupby(["parts", "steps"])["network"].nunique().sort_index()
    parts, steps = ways.index[int(ways.argmax())]
    whole = whole[(whole["parts"] == parts) & (whole["steps"] == steps)]
    method = min(whole["method"])
    several = whole.groupby("network_like")["parameters"].transform("nunique") > 1
    names = whole["network_like"].astype(str)
    names = names.where(~several, names + whole["parameters"].map(", {:.0f} parameters".format).astype(str))
    whole = whole.assign(series=[one_line(name) for name in names])
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
