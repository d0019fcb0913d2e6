"""The limits of networks in plots of FID: the FID of each network solved out, and which rows lie below it."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.text import Annotation
from pandas import DataFrame

from harness.report.analysis.limits import FROM_CARD, LimitFid, rows_below_limit
from harness.report.figures.plot_style import INK, MUTED
from harness.report.formats import format_number, one_line

BELOW_MARK = "†"
"""Where names stand without marks: the footnote's sign."""
LIMIT_LABEL = "limit of a network: its FID solved out"
MOST_LABELS = 6
DOTS = (0, (1, 2))


def find_rows_below(rows: DataFrame, limits: dict[str, LimitFid]) -> np.ndarray:
    """Return which rows [rows] lie significantly below their network's limit."""
    return rows["trial_id"].isin(rows_below_limit(rows, limits)).to_numpy()


def plot_limits(
    axes: Axes, limits: Mapping[str, LimitFid], named: Collection[str] = (), with_names: bool = True
) -> list[Annotation]:
    """Draw a thin dotted line per network at its limit, with its name at the right end.

    One network alone has its interval as a band.
    Of many networks only those in `named` get a name, and none without `with_names`.
    Returns the names for `spread_labels`, once the layout is fixed.
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
        axes.annotate(
            describe_limit(name, limits[name]), (1.0, limits[name].fid), (4, 0), xycoords=("axes fraction", "data"),
            textcoords="offset points", va="center", fontsize=7, color=MUTED, annotation_clip=False,
        )
        for name in wanted[:MOST_LABELS]
    ]  # fmt: skip


def describe_limit(network: str, limit: LimitFid) -> str:
    """Return a network's limit in words, with its interval; the row that stands in is named."""
    name = one_line(network)
    half = f" ± {format_number((limit.high - limit.low) / 2, 2)}" if limit.low < limit.high else ""
    which = f"limit of {name}" if limit.source == FROM_CARD else f"{name} by {limit.source.removeprefix(f'{name}:')}"
    return f"{which}: {format_number(limit.fid)}{half}"


def limit_handle() -> Line2D:
    """Return the legend's handle of a network's limit."""
    return Line2D([], [], color=MUTED, linewidth=1.0, linestyle=DOTS)


def spread_labels(labels: list[Annotation]) -> None:
    """Move labels at the right of axes up or down until none covers another; the layout must be fixed."""
    if not labels:
        return
    boxes = [label.get_window_extent() for label in labels]
    wanted = np.array([(box.y0 + box.y1) / 2 for box in boxes])
    apart = 1.05 * max(box.height for box in boxes)

    # least moves that leave them apart: neighbours that would overlap share their mean
    order = np.argsort(wanted, kind="stable")
    groups: list[list[float]] = []
    for place, middle in enumerate(wanted[order]):
        groups.append([middle - place * apart])
        while len(groups) > 1 and np.mean(groups[-2]) > np.mean(groups[-1]):
            groups[-2:] = [groups[-2] + groups[-1]]
    placed = [float(np.mean(group)) for group in groups for _ in group]

    scale = 72.0 / labels[0].get_figure(root=True).dpi  # type: ignore[union-attr]
    for place, number in enumerate(order):
        labels[number].set_position((4, scale * (placed[place] + place * apart - wanted[number])))


def mark_below_limit(axes: Axes, rows: DataFrame, x: str, limits: dict[str, LimitFid]) -> bool:
    """Put a ring around each row that lies significantly below its network's limit; return whether any does."""
    below = rows[find_rows_below(rows, limits)]
    axes.plot(below[x], below["fid"], linestyle="", marker="o", markersize=12, markerfacecolor="none",
              markeredgecolor=INK, markeredgewidth=1.0, zorder=5)  # fmt: skip
    return len(below) > 0
