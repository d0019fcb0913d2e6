"""The figure for a README: FID against time per image, and each method's time to a FID target."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure
from pandas import DataFrame

from harness.report.analysis.derive import ResourceClass
from harness.report.analysis.limits import LimitFid
from harness.report.figures.dot_plot import count_lines
from harness.report.figures.plot_style import MUTED, new_figure
from harness.report.figures.plotted_times import add_plotted_times
from harness.report.figures.quality_marks import class_looks, drawable_rows, finish_labels, plot_scatter
from harness.report.figures.shared_steps_plot import plot_fid_at_steps
from harness.report.figures.time_to_quality_figure import (
    plot_time_to_target,
    reached_targets,
    time_dots,
    time_notes,
)
from harness.report.formats import one_line


def draw_headline(one: ResourceClass, limits: dict[str, LimitFid], times: Mapping[float, DataFrame]) -> Figure | None:
    """Draw FID against time per image on the left, each method's time to the middle target on the right.

    `times` is that of `draw_time_to_quality`; where no method reaches one, the right half compares FID at
    equal steps.
    Parallel executors have no line at the right: they save latency, not time in a batch.
    """
    # data
    rows = add_plotted_times(drawable_rows(one, "relative_time")).dropna(subset=["image_ms"])
    serial = rows[rows["executor"] == "serial"]
    if serial.empty:
        return None
    looks = class_looks(one)

    # axes and marks
    figure, (left, right) = new_figure(14.0, 6.6, 2, (1.25, 1.0))
    marks = plot_scatter(left, rows, "image_ms", ("image_ms_low", "image_ms_high"), looks, limits)
    left.set(xlabel="Time per image in a batch (ms)", title="Which FID for how much time?")
    middle = choose_target(times)
    if middle is not None:
        dots = time_dots(times[middle], looks)
        plot_time_to_target(right, dots, middle)
        right.set_xlabel("\n".join([right.get_xlabel(), *time_notes(times[middle], dots)]), loc="right")
    else:
        dots = plot_fid_at_steps(right, serial, looks, limits)
    figure.set_figheight(max(6.6, 2.6 + 0.2 * count_lines(dots)))

    # labels and legend
    key = one.key
    apart = "" if len(serial) == len(rows) else "; parallel executors stand at the left alone: they save latency"
    subtitle = f"{key['dataset']}, N = {key['n_images']:.0f}; FID on {key['extractor']}; {key['device_name']}{apart}"
    figure.suptitle(one_line(subtitle), x=0.012, ha="left", fontsize=9, color=MUTED)
    finish_labels(figure, (marks,))
    return figure


def choose_target(times: Mapping[float, DataFrame]) -> float | None:
    """Return the middle target of the suite, else the next looser one that any method reaches; None without one."""
    targets = list(times)
    reached = [target for target in reached_targets(times) if target >= targets[len(targets) // 2]]
    return reached[-1] if reached else None
