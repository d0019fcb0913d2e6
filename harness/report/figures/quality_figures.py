"""The figures of FID against time, arithmetic and network evaluations, and of schedules."""

from __future__ import annotations

from matplotlib.figure import Figure

from harness.report.analysis.alike import find_alike, name_parts
from harness.report.analysis.derive import ResourceClass
from harness.report.figures.plot_labels import label_front
from harness.report.figures.plot_style import assign_looks, fix_layout, new_figure
from harness.report.figures.quality_marks import add_legend, drawable_rows, legend_height, plot_lines, plot_scatter
from harness.report.formats import one_line


def draw_fid_time(one: ResourceClass) -> Figure | None:
    """Draw FID against relative time and against latency."""
    # data
    rows = drawable_rows(one, "relative_time")
    if rows.empty:
        return None
    rows["latency_ms"] = 1e3 * rows["latency_seconds"]
    rows["latency_ms_low"] = 1e3 * rows["latency_low_seconds"]
    rows["latency_ms_high"] = 1e3 * rows["latency_high_seconds"]

    # axes and marks
    figure, (left, right) = new_figure(11.5, legend_height(rows, 5.0), 2)
    relative = plot_scatter(left, rows, "relative_time", ("relative_time_low", "relative_time_high"))
    left.set(xlabel="Time per image relative to the clock trial", title="Quality against relative time")
    absolute = plot_scatter(right, rows, "latency_ms", ("latency_ms_low", "latency_ms_high"))
    right.set(xlabel="Latency of one image alone (ms)", title="Quality against latency")

    # legend and labels
    add_legend(figure, rows, front=True)
    fix_layout(figure)
    label_front(left, relative)
    label_front(right, absolute)
    return figure


def draw_fid_flops(one: ResourceClass) -> Figure | None:
    """Draw FID against GFLOPs per image."""
    # data
    rows = drawable_rows(one, "flops_per_image")
    if rows.empty:
        return None
    rows["gflops"] = rows["flops_per_image"] / 1e9

    # axes and marks
    figure, (axes,) = new_figure(8.4, legend_height(rows, 5.0))
    front = plot_scatter(axes, rows, "gflops", None)
    axes.set(xlabel="GFLOPs per image (2 per multiply-add)", title="Quality against arithmetic")

    # legend and labels
    add_legend(figure, rows, front=True)
    fix_layout(figure)
    label_front(axes, front)
    return figure


def draw_fid_nfe(one: ResourceClass) -> Figure | None:
    """Draw FID against NFE, one line per method."""
    # data
    rows = drawable_rows(one, "nfe")
    if rows.empty:
        return None

    # axes and marks
    figure, (axes,) = new_figure(8.4, legend_height(rows, 5.0))
    plot_lines(axes, rows, assign_looks(rows))

    # labels and legend
    axes.set(title="Quality against network evaluations")
    add_legend(figure, rows)
    return figure


def draw_schedules(one: ResourceClass) -> Figure | None:
    """Draw FID against NFE per schedule, all else as in the baseline; None where there is only one."""
    # data
    if one.baseline.empty:
        return None
    rows, first = drawable_rows(one, "nfe"), one.baseline.iloc[0]
    rows = rows[find_alike(rows, first, ("denoiser", "solver", "executor"))]
    rows = rows.assign(series=[one_line(name) for name in name_parts(rows, "schedule")])
    if rows["series"].nunique() < 2:
        return None

    # axes and marks
    figure, (axes,) = new_figure(7.6, legend_height(rows, 4.6))
    plot_lines(axes, rows, assign_looks(rows))

    # labels and legend
    axes.set(title=f"Schedules under {one_line(first['solver'])}")
    add_legend(figure, rows)
    return figure
