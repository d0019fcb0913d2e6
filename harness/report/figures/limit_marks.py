"""The limits of networks in plots of FID: the FID of each network solved out, and which rows lie below it."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from pandas import DataFrame

from harness.report.analysis.limits import LimitFid, rows_below_limit
from harness.report.family_colors import MUTED
from harness.report.figures.margin_labels import MarginLabel, break_name
from harness.report.figures.plot_style import INK
from harness.report.formats import format_number, one_line

BELOW_MARK = "†"
"""Where names stand without marks: the footnote's sign."""
LIMIT_LABEL = "limit of a network: its FID solved out"
MOST_LABELS = 6
DOTS = (0, (1, 2))
_NAME = 32
"""Characters of a limit's name in a line."""


def find_rows_below(rows: DataFrame, limits: dict[str, LimitFid]) -> np.ndarray:
    """Return which rows [rows] lie significantly below their network's limit."""
    return rows["trial_id"].isin(rows_below_limit(rows, limits)).to_numpy()


def plot_limits(
    axes: Axes, limits: Mapping[str, LimitFid], named: Collection[str] = (), with_names: bool = True
) -> list[MarginLabel]:
    """Draw a thin dotted line per network at its limit, with its name at the right end.

    One network alone has its interval as a band.
    Of many networks only those in `named` get a name, and none without `with_names`.
    """
    bottom, top = axes.get_ylim()
    for one in limits.values():
        axes.axhline(one.fid, color=MUTED, linewidth=1.0, linestyle=DOTS, zorder=1.5)
        if len(limits) == 1 and one.low < one.high:
            band = max(one.low, bottom), min(one.high, top)
            axes.axhspan(*band, color=MUTED, alpha=0.08, linewidth=0, zorder=0.5)
    axes.set_ylim(bottom, top)

    wanted = [name for name in sorted(limits) if with_names and (len(limits) <= MOST_LABELS or name in named)]
    return [
        MarginLabel(axes, break_name(describe_limit(name, limits[name]), _NAME, 2), (0.0, limits[name].fid), MUTED)
        for name in wanted[:MOST_LABELS]
    ]


def describe_limit(network: str, limit: LimitFid) -> str:
    """Return a network's limit in words, with its interval."""
    half = f" ± {format_number((limit.high - limit.low) / 2, 2)}" if limit.low < limit.high else ""
    return f"limit of {one_line(network)}: {format_number(limit.fid)}{half}"


def limit_handle() -> Line2D:
    """Return the legend's handle of a network's limit."""
    return Line2D([], [], color=MUTED, linewidth=1.0, linestyle=DOTS)


def mark_below_limit(axes: Axes, rows: DataFrame, x: str, limits: dict[str, LimitFid]) -> bool:
    """Put a ring around each row that lies significantly below its network's limit; return whether any does."""
    below = rows[find_rows_below(rows, limits)]
    axes.plot(below[x], below["fid"], linestyle="", marker="o", markersize=12, markerfacecolor="none",
              markeredgecolor=INK, markeredgewidth=1.0, zorder=5)  # fmt: skip
    return len(below) > 0
