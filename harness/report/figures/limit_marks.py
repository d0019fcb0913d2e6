"""The limits of networks in plots of FID: the FID of each network solved out, and which rows lie below it."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.text import Annotation
from pandas import DataFrame

from harness.report.figures.plot_style import INK, MUTED
from harness.report.formats import format_number, one_line
from harness.schema.trial_name import trial_name

Limit = tuple[float, float, float, str]
"""FID, both ends of its 95 % interval, and where it comes from."""
FROM_CARD = "zoo card"
BELOW = "below the network's limit: errors cancel"
_DOTS = (0, (1, 2))


def network_limits(rows: DataFrame) -> dict[str, Limit]:
    """Return the limit of each network of a class's rows, by name.

    It is that of the zoo's card, else the row of the whole network with the most evaluations under
    the serial executor, the best of several.
    A network with neither is left out.
    """
    limits: dict[str, Limit] = {}
    names = ("network_limit_fid", "network_limit_fid_low", "network_limit_fid_high")
    for network, own in rows.groupby("network"):
        stated = own.reindex(columns=names).astype("float64").dropna(subset=names[:1])
        solved = own[(own["denoiser"] == "full") & (own["executor"] == "serial")].dropna(subset=["fid", "nfe"])
        if len(stated):
            value, low, high = stated.iloc[0]
            limits[str(network)] = (value, low, high, FROM_CARD)
        elif len(solved):
            row = solved.sort_values(["nfe", "fid", "trial_id"], ascending=[False, True, True]).iloc[0]
            source = one_line(trial_name(row["network"], row["method"], row["steps"]))
            limits[str(network)] = (row["fid"], row["fid_low"], row["fid_high"], source)
    return limits


def is_below_limit(rows: DataFrame, limits: Mapping[str, Limit]) -> np.ndarray:
    """Return which rows [rows] lie significantly below their network's limit.

    The difference exceeds both half intervals, added in quadrature: the two are of other noise.
    """
    known = np.array([limits.get(network, (math.nan,) * 3)[:3] for network in rows["network"]], dtype=float)
    value, low, _ = known.reshape(-1, 3).T
    above = (rows["fid_high"] - rows["fid"]).to_numpy()
    return (value - rows["fid"]).to_numpy() > np.hypot(value - low, above)


def plot_limits(axes: Axes, limits: Mapping[str, Limit]) -> list[Annotation]:
    """Draw a thin dotted line per network at its limit, with its name at the right end.

    One network alone has its interval as a band.
    Returns the names for `spread_labels`, once the layout is fixed.
    """
    labels = []
    bottom, top = axes.get_ylim()
    for network, (value, low, high, source) in sorted(limits.items(), key=lambda item: item[1][0]):
        axes.axhline(value, color=MUTED, linewidth=1.0, linestyle=_DOTS, zorder=1.5)
        if len(limits) == 1 and low < high:
            axes.axhspan(max(low, bottom), min(high, top), color=MUTED, alpha=0.08, linewidth=0, zorder=0.5)
        half = f" ± {format_number((high - low) / 2, 2)}" if low < high else ""
        name = one_line(network)
        which = f"limit of {name}" if source == FROM_CARD else f"{name} by {source.removeprefix(f'{name}:')}"
        labels.append(
            axes.annotate(
                f"{which}: {format_number(value)}{half}", (1.0, value), (4, 0), color=MUTED,
                xycoords=("axes fraction", "data"), textcoords="offset points", va="center", fontsize=7,
                annotation_clip=False,
            )
        )  # fmt: skip
    axes.set_ylim(bottom, top)
    return labels


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


def mark_below_limit(axes: Axes, rows: DataFrame, x: str, limits: Mapping[str, Limit]) -> bool:
    """Put a ring around each row that lies significantly below its network's limit; return whether any does."""
    below = rows[is_below_limit(rows, limits)]
    axes.plot(below[x], below["fid"], linestyle="", marker="o", markersize=12, markerfacecolor="none",
              markeredgecolor=INK, markeredgewidth=1.0, zorder=5)  # fmt: skip
    return len(below) > 0
