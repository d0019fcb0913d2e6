"""The figure for a README: FID against time, each method's time to a FID target, and samples of each family."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pandas import DataFrame

from harness.report.analysis.derive import ResourceClass
from harness.report.analysis.limits import LimitFid
from harness.report.figures.dot_plot import Dot, count_lines
from harness.report.figures.plot_style import add_note, add_question, new_halves
from harness.report.figures.plotted_times import add_plotted_times
from harness.report.figures.quality_marks import class_looks, drawable_rows, finish_labels, named_looks, plot_scatter
from harness.report.figures.sample_strips import pick_family_strips, plot_strips
from harness.report.figures.series_looks import Look
from harness.report.figures.shared_steps_plot import plot_fid_at_steps
from harness.report.figures.time_to_quality_figure import (
    plot_time_to_target,
    reached_targets,
    time_dots,
    time_notes,
)
from harness.report.formats import one_line

MOST = 8, 4
"""Rows that reach the target, and others, that the lower half shows."""
MOST_PICTURES = 5
_WIDTH, _UPPER, _BELOW = 10.2, 4.2, 1.1
"""Inches: of the figure, of the upper half with its legend, and of what stands around the lower half."""
_NAME = 26
"""Characters of a method's name in a line."""
_LINE, _STRIP = 0.21, 0.55
"""Inches of a line of the dot plot and of a strip."""


def draw_headline(
    one: ResourceClass,
    limits: dict[str, LimitFid],
    times: Mapping[float, DataFrame],
    pictures: Mapping[str, np.ndarray] | None = None,
) -> Figure | None:
    """Draw FID against time per image above, each method's time to the middle target below, samples at its right.

    `times` is that of `draw_time_to_quality`; where no method reaches one, the dots compare FID at equal steps.
    `pictures` are those of `draw_samples`.
    Parallel executors stand above alone: they save latency, not time in a batch.
    """
    # data
    rows = add_plotted_times(drawable_rows(one, "relative_time")).dropna(subset=["image_ms"])
    serial = rows[rows["executor"] == "serial"]
    if serial.empty:
        return None
    strips = pick_family_strips(one, pictures or {}, MOST_PICTURES)
    middle = choose_target(times)

    # axes
    looks = named_looks(one)
    dots = [] if middle is None else time_dots(times[middle], looks, MOST, _NAME)
    lower = max(2.6, _STRIP * len(strips), _LINE * (count_lines(dots) + 2) if dots else 0.0)
    figure, upper, (above, left, *right) = new_halves(
        _WIDTH, (_UPPER, lower + _BELOW), (1.3, 1.0) if strips else (1.0,)
    )

    # marks
    ends = ("image_ms_low", "image_ms_high")
    marks = plot_scatter(above, rows, "image_ms", ends, class_looks(one), limits, name_limits=False)
    above.set(xlabel="Time per image in a batch (ms)", title="FID against time")
    notes = (
        _plot_equal_steps(left, serial, looks, limits) if middle is None else _plot_target(left, times, middle, dots)
    )
    if strips:
        plot_strips(right[0], strips)
        right[0].set_title("Samples")
        notes.append("samples: a column is one noise")

    # labels and legend
    if len(serial) < len(rows):
        notes.append("parallel executors stand above alone: they save latency")
    key = one.key
    notes.append(f"{key['dataset']}, N = {key['n_images']:.0f}; FID on {key['extractor']}; {key['device_name']}")
    add_question(figure, "Which methods give better images in less time?")
    add_note(figure, one_line("; ".join(notes)))
    finish_labels(figure, (marks,), upper)
    return figure


def choose_target(times: Mapping[float, DataFrame]) -> float | None:
    """Return the middle target of the suite, else the next looser one that any method reaches; None without one."""
    targets = list(times)
    reached = [target for target in reached_targets(times) if target >= targets[len(targets) // 2]]
    return reached[-1] if reached else None


def _plot_target(axes: Axes, times: Mapping[float, DataFrame], target: float, dots: list[Dot]) -> list[str]:
    """Plot the rows of one target; return what the marks mean."""
    plot_time_to_target(axes, dots)
    axes.set_title(f"Time to FID {target:g}")
    return time_notes(times[target], dots, " at the target", MOST)


def _plot_equal_steps(axes: Axes, rows: DataFrame, looks: dict[str, Look], limits: dict[str, LimitFid]) -> list[str]:
    """Plot the FID of each series at one step count; return nothing that needs a note."""
    steps, _ = plot_fid_at_steps(axes, rows, looks, limits)
    axes.set_title(f"FID with {steps} steps")
    return []
