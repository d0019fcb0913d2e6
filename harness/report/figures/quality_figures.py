"""The figures of FID against time, arithmetic and network evaluations, and of schedules."""

from __future__ import annotations

from matplotlib.figure import Figure

from harness.report.analysis.alike import find_alike, name_parts
from harness.report.analysis.derive import ResourceClass
from harness.report.analysis.limits import LimitFid
from harness.report.figures.plot_style import add_question, new_figure
from harness.report.figures.plotted_times import add_plotted_times
from harness.report.figures.quality_marks import class_looks, drawable_rows, finish_labels, plot_lines, plot_scatter
from harness.report.figures.series_looks import assign_looks
from harness.report.formats import one_line


def draw_fid_time(one: ResourceClass, limits: dict[str, LimitFid]) -> Figure | None:
    """Draw FID against relative time and against latency."""
    # data
    rows = drawable_rows(one, "relative_time")
    if rows.empty:
        return None
    rows, looks = add_plotted_times(rows), class_looks(one)

    # axes and marks
    figure, (upper, lower) = new_figure(8.4, 10.4, rows=2)
    relative = plot_scatter(upper, rows, "relative_time", ("relative_time_low", "relative_time_high"), looks, limits)
    upper.set(xlabel="Time per image relative to the clock trial", title="Images in a batch")
    absolute = plot_scatter(lower, rows, "latency_ms", ("latency_ms_low", "latency_ms_high"), looks, limits)
    lower.set(xlabel="Latency of one image alone (ms)", title="One image alone")

    # legend and labels
    add_question(figure, "Which FID for how much time?")
    finish_labels(figure, (relative, absolute))
    return figure


def draw_fid_flops(one: ResourceClass, limits: dict[str, LimitFid]) -> Figure | None:
    """Draw FID against GFLOPs per image."""
    # data
    rows = drawable_rows(one, "flops_per_image")
    if rows.empty:
        return None
    rows["gflops"] = rows["flops_per_image"] / 1e9

    # axes and marks
    figure, (axes,) = new_figure(8.4, 5.6)
    marks = plot_scatter(axes, rows, "gflops", None, class_looks(one), limits, timed=False)
    axes.set(xlabel="GFLOPs per image (2 per multiply-add)", title="Which FID for how much arithmetic?")

    # legend and labels
    finish_labels(figure, (marks,))
    return figure


def draw_fid_nfe(one: ResourceClass, limits: dict[str, LimitFid]) -> Figure | None:
    """Draw FID against NFE, one line per method."""
    # data
    rows = drawable_rows(one, "nfe")
    if rows.empty:
        return None

    # axes and marks
    figure, (axes,) = new_figure(8.4, 5.6)
    marks = plot_lines(axes, rows, class_looks(one), limits)

    # labels and legend
    axes.set(title="Which FID with how many network evaluations?")
    finish_labels(figure, (marks,))
    return figure


def draw_schedules(one: ResourceClass, limits: dict[str, LimitFid]) -> Figure | None:
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
    best = list(rows.sort_values(["fid", "trial_id"])["series"].unique())
    figure, (axes,) = new_figure(8.0, 5.2)
    marks = plot_lines(axes, rows, assign_looks(rows, best), limits)

    # labels and legend
    axes.set(title=f"Which schedule suits {one_line(first['solver'])} on {one_line(first['network'])}?")
    finish_labels(figure, (marks,))
    return figure
