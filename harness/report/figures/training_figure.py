"""The figure of quality against training, for networks with several budgets, all else equal."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pandas import DataFrame

from harness.report.analysis.alike import method_parts_key
from harness.report.analysis.limits import BELOW_LIMIT, LimitFid
from harness.report.family_colors import MUTED
from harness.report.figures.limit_marks import LIMIT_LABEL, mark_below_limit
from harness.report.figures.margin_labels import label_lines
from harness.report.figures.plot_style import add_note, add_question, new_figure, set_log_axis
from harness.report.figures.series_looks import assign_looks, describe_grey
from harness.report.formats import axis_label, one_line

_LINE = ["network_like", "parameters", "parts", "steps"]


def draw_quality_by_training(rows: DataFrame, limits: dict[str, LimitFid]) -> Figure | None:
    """Draw FID against training seconds, one line per network card with several budgets.

    Only rows of whole networks count, since their preparation is training.
    They share parts, parameters and step count: those that most such networks have.
    A card whose size was changed too is another line.
    Each network's limit is a dash at its own place.
    None without such cards.
    """
    # data
    whole = _rows_of_most_networks(rows)
    if whole.empty:
        return None
    method, steps = min(whole["method"]), whole["steps"].iloc[0]

    # axes and marks
    figure, (axes,) = new_figure(7.2, 4.6)
    looks = assign_looks(whole)
    for series, look in looks.items():
        line = whole[whole["series"] == series].sort_values("prepare_seconds")
        sides = [(line["fid"] - line["fid_low"]).fillna(0), (line["fid_high"] - line["fid"]).fillna(0)]
        axes.errorbar(
            line["prepare_seconds"], line["fid"], yerr=sides, color=look.color, marker=look.marker,
            label=look.legend_name(series), elinewidth=0.9, capsize=2,
        )  # fmt: skip
    has_below = _plot_own_limits(axes, whole, limits)
    set_log_axis(axes, "x", whole["prepare_seconds"].to_numpy())
    set_log_axis(axes, "y", whole["fid"].to_numpy())

    # labels and legend
    axes.set(
        xlabel="Training (device-seconds)",
        ylabel=axis_label("fid"),
    )
    label_lines(axes)
    add_question(figure, f"How much does longer training help {one_line(method)} with {steps:.0f} steps?")
    notes = ["every point is a training of its own, to the end of its budget", f"dash: {LIMIT_LABEL}"]
    notes += [*describe_grey(looks), *([f"ring: {BELOW_LIMIT}"] if has_below else [])]
    add_note(figure, "; ".join(notes))
    return figure


def _rows_of_most_networks(rows: DataFrame) -> DataFrame:
    """Return the rows of cards with several budgets, of one method and step count, with `series`."""
    whole = rows[(rows["denoiser"] == "full") & rows["fid"].notna() & (rows["prepare_seconds"] > 0)]
    whole = whole.assign(parts=[method_parts_key(row) for _, row in whole.iterrows()])
    whole = whole[whole.groupby(_LINE, dropna=False)["network"].transform("nunique") > 1]
    if whole.empty:
        return whole

    # the parts and step count of most networks
    ways = whole.groupby(["parts", "steps"])["network"].nunique().sort_index()
    parts, steps = ways.index[int(ways.argmax())]
    whole = whole[(whole["parts"] == parts) & (whole["steps"] == steps)]

    # series
    several = whole.groupby("network_like")["parameters"].transform("nunique") > 1
    names = whole["network_like"].astype(str)
    names = names.where(~several, names + whole["parameters"].map(", {:.0f} parameters".format).astype(str))
    return whole.assign(series=[one_line(name) for name in names])


def _plot_own_limits(axes: Axes, whole: DataFrame, limits: dict[str, LimitFid]) -> bool:
    """Draw a dash at each network's limit, and rings around rows below it; return whether any is."""
    stated = whole[[name in limits for name in whole["network"]]]
    heights = [limits[name].fid for name in stated["network"]]
    axes.plot(stated["prepare_seconds"], heights, linestyle="", marker="_", markersize=16, color=MUTED, zorder=3,
              label=LIMIT_LABEL)  # fmt: skip
    return mark_below_limit(axes, whole, "prepare_seconds", limits)
