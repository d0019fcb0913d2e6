"""The figures of a paper as PDF, each as wide as a column and as wide as a page."""

from __future__ import annotations

import io
from collections.abc import Callable

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.text import Text

from harness.report.analysis.derive import Analysis, ResourceClass
from harness.report.figures.dot_plot import count_lines
from harness.report.figures.draw import FEWEST_ROWS, class_limits, paint_classes
from harness.report.figures.front_labels import label_front
from harness.report.figures.headline_figure import choose_target
from harness.report.figures.margin_labels import MarginLabel, break_name
from harness.report.figures.plot_style import fix_layout, new_figure, report_style
from harness.report.figures.plotted_times import add_plotted_times
from harness.report.figures.quality_marks import (
    Marks,
    class_looks,
    drawable_rows,
    legend_handles,
    named_looks,
    plot_lines,
    plot_scatter,
)
from harness.report.figures.target_frames import frames_by_target
from harness.report.figures.time_to_quality_figure import plot_time_to_target, time_dots
from harness.report.formats import format_count
from harness.report.leaderboard import ClassTables
from harness.report.paper.latex_table import COLUMN_INCHES, PAGE_INCHES

WIDTHS = {"column": COLUMN_INCHES, "page": PAGE_INCHES}
"""Inches of the figures by the word in their file names."""
_HEIGHTS = {"column": 3.3, "page": 4.6}
_TYPE = {"column": 0.82, "page": 0.92}
"""Size of type over that of the report's figures."""
_MARKS = {"column": 0.6, "page": 0.85}
"""The same of marks and lines."""
_SETTINGS = {"pdf.fonttype": 42, "pdf.compression": 6}
"""TrueType letters, which journals take."""
_METADATA = {"Creator": None, "Producer": None, "CreationDate": None}
_MOST = {"column": (6, 2), "page": (12, 4)}
"""Methods that reach a target, and others, in the figure of times."""
_NAME = {"column": 22, "page": 40}
"""Letters of a method's name in a line there."""
_LABEL = 16
"""Letters of a name in a line at the right of a plot in a column."""

Drawer = Callable[[ClassTables, ResourceClass, Analysis, str], Figure | None]


def paper_figures(classes: tuple[ClassTables, ...], analysis: Analysis) -> dict[str, bytes]:
    """Return PDF files by name, such as fid-time-column.pdf; those of classes after the first hold the class's number.

    They have no dates, so their bytes depend on the rows alone.
    """
    files: dict[str, bytes] = {}
    analysis = paint_classes(analysis)
    with report_style():
        mpl.rcParams.update(_SETTINGS)
        for place, (tables, one) in enumerate(zip(classes, analysis.classes, strict=True), 1):
            if place > 1 and len(one.rows) < FEWEST_ROWS:
                continue

            for name, draw in FIGURES.items():
                for width in WIDTHS:
                    figure = draw(tables, one, analysis, width)
                    if figure is not None:
                        stem = name if place == 1 else f"{name}-{place}"
                        files[f"{stem}-{width}.pdf"] = _render_pdf(figure)
    return files


def _render_pdf(figure: Figure) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="pdf", metadata=_METADATA)
    return stream.getvalue()


def _draw_evaluations(_: ClassTables, one: ResourceClass, analysis: Analysis, width: str) -> Figure | None:
    """Draw FID against evaluations, one line per method."""
    rows = drawable_rows(one, "nfe")
    if rows.empty:
        return None
    figure, (axes,) = new_figure(WIDTHS[width], _HEIGHTS[width])
    marks = plot_lines(axes, rows, class_looks(one), class_limits(one, analysis))
    _finish(figure, marks, width)
    return figure


def _draw_times(_: ClassTables, one: ResourceClass, analysis: Analysis, width: str) -> Figure | None:
    """Draw FID against time per image in a batch, with the Pareto front."""
    rows = add_plotted_times(drawable_rows(one, "relative_time")).dropna(subset=["image_ms"])
    if rows.empty:
        return None
    figure, (axes,) = new_figure(WIDTHS[width], _HEIGHTS[width])
    ends = ("image_ms_low", "image_ms_high")
    marks = plot_scatter(axes, rows, "image_ms", ends, class_looks(one), class_limits(one, analysis))
    axes.set(xlabel="Time per image in a batch (ms)")
    _finish(figure, marks, width)
    return figure


def _draw_targets(tables: ClassTables, one: ResourceClass, _: Analysis, width: str) -> Figure | None:
    """Draw each method's time to the middle target that any reaches."""
    times = frames_by_target(tables.quality)
    target = choose_target(times)
    if target is None:
        return None
    dots = time_dots(times[target], named_looks(one), _MOST[width], _NAME[width])
    figure, (axes,) = new_figure(WIDTHS[width], 0.7 + 0.17 * (count_lines(dots) + 1))
    plot_time_to_target(axes, dots)
    axes.set_xlabel(f"Time per image to FID {format_count(target)} (ms)")
    _scale_type(figure, width)
    fix_layout(figure)
    return figure


FIGURES: dict[str, Drawer] = {
    "fid-evaluations": _draw_evaluations, "fid-time": _draw_times, "time-to-quality": _draw_targets,
}  # fmt: skip
"""By the first part of a file's name: returns the figure of a class, or None where there is nothing to show."""


def _finish(figure: Figure, marks: Marks, width: str) -> None:
    """Put the legend below, scale type and marks to the width, and write the evaluations of front points.

    In a column there is no room for the names of limits, and those of methods are broken.
    """
    handles = legend_handles((marks,))
    if handles:
        columns = 1 if width == "column" else 2
        figure.legend([*handles.values()], [*handles], loc="outside lower center", ncols=columns, borderpad=0.0)
    if width == "column":
        _shorten_names(marks)

    # sizes
    for line in (*marks.axes.lines, *handles.values()):
        line.set_markersize(_MARKS[width] * line.get_markersize())
        line.set_linewidth(_MARKS[width] * line.get_linewidth())
    _scale_type(figure, width)
    fix_layout(figure)

    # labels that need the layout
    before = set(figure.findobj(Text))
    label_front(marks.axes, marks.front)
    for text in figure.findobj(Text):
        if text not in before:
            _scale_text(text, width)


def _shorten_names(marks: Marks) -> None:
    """Take away the names of limits, and break those of methods into shorter lines."""
    for label in [text for text in marks.axes.texts if isinstance(text, MarginLabel)]:
        if label.line is None:
            label.remove()
        else:
            name, role, _ = label.get_text().replace("\n", "").partition(" (baseline)")
            label.set_text(break_name(name, _LABEL) + role.replace(" ", "\n"))


def _scale_type(figure: Figure, width: str) -> None:
    for text in figure.findobj(Text):
        _scale_text(text, width)
    for axes in figure.axes:
        axes.tick_params(labelsize=9 * _TYPE[width])


def _scale_text(text: object, width: str) -> None:
    if isinstance(text, Text):
        text.set_fontsize(_TYPE[width] * float(text.get_fontsize()))
