"""Labels inside a plot: step counts of points on a front."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox


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
