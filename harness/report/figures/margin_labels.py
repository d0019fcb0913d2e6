"""Names of lines at the right of axes, each with its mark, at the height of the line's end."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Annotation
from matplotlib.transforms import IdentityTransform

from harness.report.family_colors import MUTED
from harness.report.figures.series_looks import GREY, OTHERS_NAME

MOST_LINES = 3
_NAME = 27
"""Characters of a name in a line."""
_GAP, _MARK_GAP = 5.0, 17.0
"""Points of type between the axes and a name, without and with a mark."""
_APART = 1.06
"""Heights of labels from the middle of one to the next."""
_NEAR = 0.45
"""Part of the axes' width, at the right, in which the end of a line is joined to its name."""


class MarginLabel(Annotation):
    """A name at the right of axes, which `spread_labels` moves up or down; with the line that it names."""

    def __init__(self, axes: Axes, text: str, end: tuple[float, float], color: str, line: Line2D | None = None) -> None:
        """`end` is the point in data coordinates that is named; `line` lends its mark."""
        super().__init__(
            text, (1.0, end[1]), (_GAP if line is None else _MARK_GAP, 0.0), xycoords=("axes fraction", "data"),
            textcoords="offset points", va="center", fontsize=7.5, color=color, annotation_clip=False,
        )  # fmt: skip
        self.line = line
        self.end = end
        self.set_transform(IdentityTransform())
        axes.add_artist(self)
        self.set_clip_on(False)


def label_lines(axes: Axes, name: Callable[[str], str] = str, anchor: int = -1) -> None:
    """Write the name of each labelled line of the axes at their right; grey ones have none.

    `name` shortens a line's label; of lines with one name the last is joined to it.
    For `anchor` see `label_line`. Call it when the scales of the axes are set.
    """
    found: dict[str, Line2D] = {}
    for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
        line = handle.lines[0] if isinstance(handle, ErrorbarContainer) else handle
        if not isinstance(line, Line2D) or line.get_color() in (GREY.color, MUTED) or OTHERS_NAME in label:
            continue
        if len(drawable_points(axes, line)):
            found[name(label)] = line

    for text, line in found.items():
        label_line(axes, line, text, anchor)


def label_line(axes: Axes, line: Line2D, text: str, anchor: int = -1) -> MarginLabel | None:
    """Write the name of a line at the right of its axes; None if the axes can show no point of it.

    `anchor` counts the point of the line that the name is joined to, from its end.
    """
    points = drawable_points(axes, line)
    if not len(points):
        return None
    x, y = points[max(anchor, -len(points))]
    return MarginLabel(axes, break_name(text, _NAME), (float(x), float(y)), str(line.get_color()), line)


def drawable_points(axes: Axes, line: Line2D) -> np.ndarray:
    """Return the points [n, 2] of a line that its axes can show, in the order from left to right."""
    points = np.asarray(line.get_xydata(), dtype=float)
    scales = np.array([axes.get_xscale() == "log", axes.get_yscale() == "log"])
    known = points[np.isfinite(points).all(axis=1) & ((points > 0) | ~scales).all(axis=1)]
    order = np.argsort(known[:, 0], kind="stable")
    return known[order[::-1]] if axes.xaxis_inverted() else known[order]


def break_name(name: str, width: int, most: int = MOST_LINES) -> str:
    """Return a name in lines of about `width` characters: broken after : / ( or a comma, a long part anywhere.

    Of a name that needs more than `most` lines the middle is left out, with "…" in its place: tables have it whole.
    """
    lines, kept = _break(name, width), len(name)
    while len(lines) > most:
        kept -= width // 4
        lines = _break(f"{name[: kept - kept // 2]}…{name[len(name) - kept // 2 :]}", width)
    return "\n".join(lines)


def _break(name: str, width: int) -> list[str]:
    """Return the lines of a name; there is one at least."""
    lines = [""]
    for part in _name_parts(name, width):
        if lines[-1] and len(lines[-1]) + len(part) > width:
            lines.append(part)
        else:
            lines[-1] += part
    return lines


def _name_parts(name: str, width: int) -> list[str]:
    """Return the pieces of a name that stay together, none much longer than `width`."""
    if len(name) <= width:
        return [name]
    ends = [place + 1 for place, sign in enumerate(name) if sign in ":/(, "]
    parts = [name[a:b] for a, b in zip([0, *ends], [*ends, len(name)], strict=True)]
    most = 3 * width // 2
    return [part[at : at + most] for part in parts for at in range(0, len(part), most)]


def spread_labels(labels: Sequence[MarginLabel]) -> None:
    """Move the labels of one margin up or down until none covers another, and draw their marks.

    The layout must be fixed. Names without a mark are left out, the last first, where there is no room for all.
    """
    labels = _that_fit(labels)
    if not labels:
        return
    frame = labels[0].axes.get_window_extent()  # type: ignore[union-attr]
    boxes = [label.get_window_extent() for label in labels]
    wanted = np.clip([(box.y0 + box.y1) / 2 for box in boxes], frame.y0, frame.y1)
    placed = place_apart(wanted, np.array([_APART * box.height for box in boxes]), frame.y0, frame.y1)

    scale = 72.0 / labels[0].get_figure(root=True).dpi  # type: ignore[union-attr]
    for label, box, height in zip(labels, boxes, placed, strict=True):
        across = _GAP if label.line is None else _MARK_GAP
        label.set_position((across, scale * (height - (box.y0 + box.y1) / 2)))
        _draw_mark(label, (height - frame.y0) / frame.height)


def _that_fit(labels: Sequence[MarginLabel]) -> list[MarginLabel]:
    """Return the labels for which there is room along their axes; those without a mark are removed before others."""
    kept = list(labels)
    for label in reversed(labels):
        room = label.axes.get_window_extent().height  # type: ignore[union-attr]
        if label.line is None and sum(_APART * one.get_window_extent().height for one in kept) > room:
            kept.remove(label)
            label.remove()
    return kept


def place_apart(wanted: np.ndarray, heights: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return the middles [n] of boxes with these heights, near those wanted, so that none covers another.

    They lie between `low` and `high` if there is room; the squares of the moves are least before that.
    """
    order = np.argsort(wanted, kind="stable")
    tall = heights[order]
    offsets = np.concatenate([[0.0], np.cumsum((tall[1:] + tall[:-1]) / 2)])

    # neighbours that would cover each other share the mean of their moves
    groups: list[list[float]] = []
    for value in wanted[order] - offsets:
        groups.append([float(value)])
        while len(groups) > 1 and np.mean(groups[-2]) > np.mean(groups[-1]):
            groups[-2:] = [groups[-2] + groups[-1]]
    moved = np.array([float(np.mean(group)) for group in groups for _ in group])

    # between the ends; without room for all, as far above as below
    first, last = low + tall[0] / 2, high - tall[-1] / 2 - offsets[-1]
    ends = (first, last) if first <= last else ((first + last) / 2,) * 2
    placed = np.empty(len(wanted))
    placed[order] = np.clip(moved, *ends) + offsets
    return placed


def spread_margins(figure: Figure) -> None:
    """Place the labels in the margins of all axes; the layout must be fixed."""
    for axes in figure.axes:
        spread_labels([text for text in axes.texts if isinstance(text, MarginLabel)])


def _draw_mark(label: MarginLabel, height: float) -> None:
    """Draw the mark of a label's line before the name, joined to the line's end where that is near."""
    axes, line = label.axes, label.line
    figure = label.get_figure(root=True)
    if line is None or axes is None or figure is None:
        return
    width = axes.get_window_extent().width * 72.0 / figure.dpi
    place = 1.0 + (_MARK_GAP / 2 + 1) / width
    mark = Line2D([place], [height], transform=axes.transAxes, in_layout=False, linestyle="")
    mark.update_from(line)
    mark.set(transform=axes.transAxes, linestyle="", markersize=6.0, clip_on=False, label="", alpha=1.0)
    figure.add_artist(mark)

    end = axes.transAxes.inverted().transform(axes.transData.transform(label.end))
    if 1.0 - _NEAR <= end[0] < 1.0 and 0.0 <= end[1] <= 1.0:
        figure.add_artist(Line2D(
            [end[0] + 5.0 / width, place - 5.0 / width], [end[1], height], transform=axes.transAxes, in_layout=False,
            color=line.get_color(), linewidth=0.6, alpha=0.55,
        ))  # fmt: skip
