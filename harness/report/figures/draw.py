"""Draws every figure of a report; intervals are 95 % everywhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from matplotlib.figure import Figure

from harness.report.analysis.derive import Analysis, ResourceClass
from harness.report.analysis.executor_rows import select_parallel_rows
from harness.report.analysis.factorial_effects import find_designs
from harness.report.analysis.limits import LimitFid, network_limits
from harness.report.analysis.method_lines import comparable_rows
from harness.report.analysis.time_to_quality import read_class
from harness.report.figures.calibration_figure import draw_calibration
from harness.report.figures.effects_figure import draw_effects
from harness.report.figures.fidelity_figure import draw_fidelity_flops
from harness.report.figures.headline_figure import draw_headline
from harness.report.figures.parallel_figures import (
    draw_error_by_refinement,
    draw_iterations_by_tolerance,
    draw_speedup_by_devices,
    draw_speedup_by_distance,
)
from harness.report.figures.plot_style import render_figure, report_style
from harness.report.figures.quality_figures import draw_fid_flops, draw_fid_nfe, draw_fid_time, draw_schedules
from harness.report.figures.sample_strips import draw_samples
from harness.report.figures.schedule_figures import draw_error_by_steps, draw_levels_by_step
from harness.report.figures.search_figure import draw_search_front
from harness.report.figures.series_looks import paint_rows
from harness.report.figures.share_figure import draw_network_share
from harness.report.figures.skipped_figure import draw_skipped_calls
from harness.report.figures.speedup_figure import draw_equal_quality
from harness.report.figures.target_frames import frames_by_target
from harness.report.figures.time_to_quality_figure import draw_time_to_quality
from harness.report.figures.training_figure import draw_quality_by_training
from harness.report.figures.width_figure import draw_widths_by_step

FEWEST_ROWS = 3
"""A class after the first is drawn from this many rows on; the table shows the others."""
CAPTIONS = {
    "headline": "FID against time per image with its Pareto front and the limits of networks, each method's time to a "
    "FID target, and samples of the baseline and of the best row of each family. Intervals are cut where an axis ends.",
    "samples": "The same noises, by the baseline and by the best row of each family.",
    "fid-time": "FID against time, relative to the clock trial above, and in milliseconds for one image alone below.",
    "fid-flops": "FID against floating-point operations per image, 2 per multiply-add.",
    "fid-nfe": "FID against network evaluations per image, one line per method.",
    "time-to-quality": "Time per image at which each method reaches a FID target, read on its own curve; an open mark "
    "is reached at the smallest step count.",
    "equal-quality": "Speed-up at equal quality: the baseline's time to reach the row's FID, over the row's time, the "
    "best of each method; bounds stand apart.",
    "schedules": "Schedules compared under the baseline's solver.",
    "levels": "Where each schedule puts its steps: noise level against step.",
    "truncation": "Truncation error against the number of steps, one line per schedule and denoiser.",
    "fid-steps": "FID against the number of steps, one line per schedule and denoiser.",
    "network-share": "How much of the network ran at each noise level, for rows that leave a part of it out.",
    "skipped-calls": "Which calls a cache answered from what it had kept, step by step.",
    "fidelity-flops": "How near images stay to those of the same sampler without acceleration, against floating-point "
    "operations per image.",
    "effects": "A factorial design: by what each change of a factor multiplies FID and time, and which interact.",
    "widths": "Which width of a slimmable network ran at each step.",
    "searches": "What searches tried: FID on the search's own images against arithmetic, and what was chosen.",
    "calibration": "What a method predicts of its own error, and the true one, by noise level and block.",
    "training": "FID against training time, for networks that were trained with several budgets.",
    "refinements": "How refinements of parallel executors close in on the serial answer.",
    "tolerances": "Refinements of parallel executors until an image stops, against their tolerance.",
    "distances": "Speed-up over the serial run against distance to its answer, one line per executor.",
    "devices": "Speed-up over the serial run against devices: measured on real ones, and replayed on virtual ones.",
}
Pictures = Mapping[str, np.ndarray]
DRAWERS: dict[str, Callable[[ResourceClass, Analysis, Pictures], Figure | None]] = {
    "headline": lambda one, analysis, pictures: draw_headline(
        one, class_limits(one, analysis), frames_by_target(read_class(one, analysis)), pictures
    ),
    "samples": lambda one, _, pictures: draw_samples(one, pictures),
    "fid-time": lambda one, analysis, _: draw_fid_time(one, class_limits(one, analysis)),
    "fid-flops": lambda one, analysis, _: draw_fid_flops(one, class_limits(one, analysis)),
    "fid-nfe": lambda one, analysis, _: draw_fid_nfe(one, class_limits(one, analysis)),
    "time-to-quality": lambda one, analysis, _: draw_time_to_quality(one, frames_by_target(read_class(one, analysis))),
    "equal-quality": lambda one, analysis, _: draw_equal_quality(one, class_limits(one, analysis)),
    "schedules": lambda one, analysis, _: draw_schedules(one, class_limits(one, analysis)),
    "levels": lambda one, analysis, _: draw_levels_by_step(one.rows, analysis.tables["steps"]),
    "truncation": lambda one, _, __: draw_error_by_steps(one.rows, "truncation_error"),
    "fid-steps": lambda one, analysis, _: draw_error_by_steps(
        one.rows[one.rows["truncation_error"].notna()], "fid", class_limits(one, analysis)
    ),
    "network-share": lambda one, analysis, _: draw_network_share(one.rows, analysis.tables["steps"]),
    "skipped-calls": lambda one, analysis, _: draw_skipped_calls(one.rows, analysis.tables["steps"]),
    "fidelity-flops": lambda one, _, __: draw_fidelity_flops(one.rows),
    "effects": lambda one, analysis, _: draw_effects(find_designs(replace(analysis, classes=(one,)))),
    "widths": lambda one, analysis, _: draw_widths_by_step(one.rows, analysis.tables["steps"]),
    "searches": lambda one, analysis, _: draw_search_front(one.rows, analysis.tables["searches"]),
    "calibration": lambda one, analysis, _: draw_calibration(one.rows, analysis.tables["calibration"]),
    "training": lambda one, analysis, _: draw_quality_by_training(one.rows, class_limits(one, analysis)),
    "refinements": lambda one, analysis, _: draw_error_by_refinement(
        select_parallel_rows(one, analysis), analysis.tables["refinements"]
    ),
    "tolerances": lambda one, analysis, _: draw_iterations_by_tolerance(select_parallel_rows(one, analysis)),
    "distances": lambda one, analysis, _: draw_speedup_by_distance(select_parallel_rows(one, analysis)),
    "devices": lambda one, analysis, _: draw_speedup_by_devices(
        select_parallel_rows(one, analysis), analysis.tables["virtual"]
    ),
}
"""By name: returns the figure of a class, or None where there is nothing to show."""


def class_limits(one: ResourceClass, analysis: Analysis) -> dict[str, LimitFid]:
    """Return the limits of the networks of a class, as its tables have them."""
    return network_limits(comparable_rows(one, analysis))


def paint_classes(analysis: Analysis) -> Analysis:
    """Return the analysis with the color of each ranked row's family among all families."""
    painted = [replace(one, rows=paint_rows(one.rows, analysis.families)) for one in analysis.classes]
    return replace(analysis, classes=tuple(painted))


def draw_all(analysis: Analysis, pictures: Pictures | None = None) -> dict[str, bytes]:
    """Return file name -> bytes of every figure that has something to show.

    `pictures`: the first samples of each trial that has any, uint8 [n, channels, height, width] by trial_id.
    File names of classes after the first end in the class's number.
    """
    files: dict[str, bytes] = {}
    analysis = paint_classes(analysis)
    with report_style():
        for place, one in enumerate(analysis.classes, 1):
            if place > 1 and len(one.rows) < FEWEST_ROWS:
                continue

            for name, draw in DRAWERS.items():
                figure = draw(one, analysis, pictures or {})
                if figure is not None:
                    stem = name if place == 1 else f"{name}-{place}"
                    files |= {f"{stem}.{kind}": data for kind, data in render_figure(figure).items()}
    return files
