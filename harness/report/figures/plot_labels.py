"""Labels inside a plot: step counts of points on a front, and names of series near their marks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox
from pandas import DataFrame

from harness.report.figures.plot_style import GREY, Look

_LINE = 34
"""Characters of a series' name in a line."""
_DIRECTIONS = np.linspace(0.0, 2.0 * np.pi, 16, endpoint=False)
_RADII = (9.0, 16.0, 26.0, 38.0, 54.0, 74.0, 100.0, 130.0)
"""Distances of a label from its mark, in points of type."""


def label_front(axes: Axes, points: list[tuple[float, float, str]]) -> list[Bbox]:
    """Write a label at the lower left of each point (x, y, text); return the boxes of all labels in pixels.

    It is moved until it covers no other label.
    The figure's layout must be fixed.
    A label without a free place is left out: the table has the point.
    """
    taken = [_marker_box(axes, x, y) for x, y, _ in points]
    labels: list[Bbox] = []
    frame = axes.get_window_extent()

    for x, y, text in sorted(points):
        for dx, dy in ((-7, -7), (-7, -16), (-16, -7), (-16, -20), (-26, -12), (-7, -30), (-30, -30)):
            label = _annotate(axes, x, y, text, (dx, dy))
            box = label.get_window_extent().expanded(1.02, 1.05)

            # the first free place inside the axes
            inside = frame.x0 <= box.x0 and frame.y0 <= box.y0
            if inside and not any(box.overlaps(other) for other in (*taken, *labels)):
                labels.append(box)
                break
            label.remove()
    return labels


@dataclass(frozen=True)
class _Scene:
    """What labels must not cover, in pixels: marks [marks, 2], points on lines [points, 2], and the axes' frame."""

    marks: np.ndarray
    lines: np.ndarray
    frame: Bbox
    scale: float
    """Pixels in a point of type."""


def label_series(axes: Axes, rows: DataFrame, x: str, looks: dict[str, Look], taken: Sequence[Bbox] = ()) -> None:
    """Write the name of each colored series near one of its marks, in its color.

    The place is that which covers least of marks, lines and other labels (`taken`, in pixels).
    A thin line joins a name to its mark where they are apart.
    The figure's layout must be fixed.
    """
    known = rows.dropna(subset=[x, "fid"])
    scene = _find_scene(axes, known, x)
    boxes = list(taken)
    for series in sorted(looks):
        line = known[known["series"] == series]
        if looks[series] == GREY or line.empty:
            continue

        # the cheapest place
        marks = axes.transData.transform(line[[x, "fid"]].to_numpy())
        text = wrap_name(series)
        width, height = _measure(axes, text)
        anchor, box = _cheapest_place(scene, marks, (width, height), boxes)
        boxes.append(box)
        _write_name(axes, text, looks[series], marks[anchor], box, scene.scale)


def wrap_name(name: str, width: int = _LINE) -> str:
    """Return a name in lines of about `width` characters, broken after a colon, a slash or a comma."""
    if len(name) <= width:
        return name
    lines = [""]
    for part in re.split(r"(?<=[:/,])", name):
        if lines[-1] and len(lines[-1]) + len(part) > width:
            lines.append(part)
        else:
            lines[-1] += part
    return "\n".join(lines)


def _find_scene(axes: Axes, rows: DataFrame, x: str) -> _Scene:
    """Return the marks of the rows, and points on the lines that join those of a series."""
    marks = axes.transData.transform(rows[[x, "fid"]].to_numpy())
    points = [np.zeros((0, 2))]
    for _, line in rows.sort_values(x).groupby("series"):
        ends = axes.transData.transform(line[[x, "fid"]].to_numpy())
        shares = np.linspace(0.0, 1.0, 12)[:, None]
        points += [a + shares * (b - a) for a, b in pairwise(ends)]
    scale = axes.get_figure(root=True).dpi / 72.0  # type: ignore[union-attr]
    return _Scene(marks, np.concatenate(points), axes.get_window_extent(), scale)


def _measure(axes: Axes, text: str) -> tuple[float, float]:
    """Return the width and height of a label in pixels."""
    probe = axes.annotate(text, (0.5, 0.5), xycoords="axes fraction", fontsize=7.5)
    box = probe.get_window_extent()
    probe.remove()
    return box.width + 4.0, box.height + 3.0


def _cheapest_place(
    scene: _Scene, marks: np.ndarray, size: tuple[float, float], taken: Sequence[Bbox]
) -> tuple[int, Bbox]:
    """Return which of the marks [n, 2] a label of this size in pixels goes to, and its box."""
    best: tuple[float, int, Bbox] | None = None
    for number, mark in enumerate(marks):
        for radius in _RADII:
            for angle in _DIRECTIONS:
                box = _box_at(mark + radius * scene.scale * np.array([np.cos(angle), np.sin(angle)]), angle, size)
                cost = _place_cost(scene, box, taken) + 0.05 * radius
                if best is None or cost < best[0]:
                    best = (cost, number, box)
    assert best is not None, "a series has marks"
    return best[1], best[2]


def _box_at(point: np.ndarray, angle: float, size: tuple[float, float]) -> Bbox:
    """Return the box whose nearest edge is at the point, seen from a mark at that angle."""
    width, height = size
    x0 = point[0] - width * (0.5 - 0.5 * np.cos(angle))
    y0 = point[1] - height * (0.5 - 0.5 * np.sin(angle))
    return Bbox.from_bounds(x0, y0, width, height)


def _place_cost(scene: _Scene, box: Bbox, taken: Sequence[Bbox]) -> float:
    """Return what a box covers: labels count most, then marks, then lines; outside the axes is worst."""
    frame = scene.frame
    if box.x0 < frame.x0 or box.x1 > frame.x1 or box.y0 < frame.y0 or box.y1 > frame.y1:
        return 1e3
    labels = sum(box.overlaps(other) for other in taken)
    wide = Bbox.from_extents(box.x0 - 6, box.y0 - 6, box.x1 + 6, box.y1 + 6)
    return 60.0 * labels + 8.0 * _count_inside(wide, scene.marks) + 0.8 * _count_inside(box, scene.lines)


def _count_inside(box: Bbox, points: np.ndarray) -> int:
    x, y = points.T
    return int(np.sum((x > box.x0) & (x < box.x1) & (y > box.y0) & (y < box.y1)))


def _write_name(axes: Axes, text: str, look: Look, mark: np.ndarray, box: Bbox, scale: float) -> None:
    """Write a name into its box, joined to its mark where it is apart."""
    middle = np.array([(box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2])
    nearest = np.clip(mark, [box.x0, box.y0], [box.x1, box.y1])
    if np.hypot(*(nearest - mark)) > 14.0 * scale:
        back = axes.transData.inverted()
        (x0, y0), (x1, y1) = back.transform(mark), back.transform(nearest)
        axes.plot([x0, x1], [y0, y1], color=look.color, linewidth=0.6, alpha=0.8, zorder=2.5, scalex=False,
                  scaley=False)  # fmt: skip
    axes.annotate(
        text, tuple(axes.transAxes.inverted().transform(middle)), xycoords="axes fraction", ha="center", va="center",
        fontsize=7.5, color=look.color, annotation_clip=False, zorder=6,
        bbox={"boxstyle": "square,pad=0.05", "facecolor": "white", "alpha": 0.75, "linewidth": 0},
    )  # fmt: skip


def _annotate(axes: Axes, x: float, y: float, text: str, offset: tuple[int, int]) -> Annotation:
    far = offset != (-7, -7)
    line = {"arrowstyle": "-", "color": "#9aa1ad", "linewidth": 0.6, "shrinkA": 0, "shrinkB": 3} if far else None
    return axes.annotate(
        text, (x, y), offset, textcoords="offset points", ha="right", va="center", fontsize=8, color="#374151",
        arrowprops=line, annotation_clip=False,
    )  # fmt: skip


def _marker_box(axes: Axes, x: float, y: float) -> Bbox:
    """Return the box of a marker in pixels."""
    column, line = axes.transData.transform((x, y))
    return Bbox.from_extents(column - 8, line - 8, column + 8, line + 8)
