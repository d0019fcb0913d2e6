"""The figure for a README: the front of quality and time, and each method's best speed-up."""

from __future__ import annotations

from collections.abc import Collection

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from pandas import DataFrame

from harness.report.analysis.derive import ResourceClass
from harness.report.figures.plot_labels import label_front
from harness.report.figures.plot_style import INK, add_note, assign_looks, fix_layout, new_figure
from harness.report.figures.quality_marks import (
    FRONT_LABEL,
    GREY,
    drawable_rows,
    front_handle,
    marker_style,
    plot_scatter,
)
from harness.report.figures.speedup_figure import plot_speedup_dots, rows_with_speedup
from harness.report.formats import one_line

MOST_METHODS = 14


def draw_headline(one: ResourceClass) -> Figure | None:
    """Draw FID against time on the left, each method's best speed-up at equal quality on the right."""
    # data: methods that the right half leaves out are grey on the left
    rows, speedups = drawable_rows(one, "relative_time"), rows_with_speedup(one)
    if rows.empty or speedups.empty:
        return None
    best = speedups.drop_duplicates("series").head(MOST_METHODS)
    styles = assign_looks(rows)
    others = {name for name, look in styles.items() if look.color != INK} - set(best["series"])

    # axes and marks
    figure, (left, right) = new_figure(12.5, max(5.2, 2.2 + 0.3 * len(best)), 2, (1.15, 1.0))
    front = plot_scatter(left, rows, "relative_time", ("relative_time_low", "relative_time_high"), others)
    left.set(xlabel="Time per image relative to the clock trial", title="Lower left is better: quality against time")
    plot_speedup_dots(right, best, styles)
    # at the right: the names of the methods are at the left
    right.set_title("Best speed-up at equal quality, per method", loc="right")

    # labels and legend
    key = one.key
    subtitle = f"{key['dataset']}, N = {key['n_images']:.0f}; FID on {key['extractor']}; {key['device_name']}"
    add_note(figure, one_line(subtitle))
    figure.legend(*_legend_handles(rows, others), loc="outside lower center", ncols=3)
    fix_layout(figure)
    label_front(left, front)
    return figure


def _legend_handles(rows: DataFrame, others: Collection[str]) -> tuple[list[Line2D], list[str]]:
    """Return handles and labels of what the right half does not name: baseline, grey methods, front."""
    base = [(look, f"{name} (baseline)") for name, look in assign_looks(rows).items() if look.color == INK]
    grey = [(GREY, f"{len(others)} more, in the tables")] if others else []
    handles = [Line2D([], [], linewidth=look.width, **marker_style(look)) for look, _ in (*base, *grey)]
    return [*handles, front_handle()], [*(name for _, name in (*base, *grey)), FRONT_LABEL]
