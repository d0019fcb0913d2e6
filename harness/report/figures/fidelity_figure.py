"""The figure of fidelity against arithmetic: what each acceleration keeps of the images, and what it leaves out."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pandas import DataFrame, Series, concat

from harness.report.analysis.alike import name_parts, part_parameters
from harness.report.figures.front_labels import label_front
from harness.report.figures.margin_labels import label_lines
from harness.report.figures.plot_style import (
    add_note,
    add_question,
    fix_layout,
    new_panels,
    set_log_axis,
)
from harness.report.figures.quality_marks import interval_sides, marker_style
from harness.report.figures.series_looks import Look, assign_looks, describe_grey, with_colors
from harness.report.formats import axis_label, one_line

MOST_PANELS = 4
_SETTING = ["network", "solver_name", "schedule_name", "steps"]


def draw_fidelity_flops(rows: DataFrame) -> Figure | None:
    """Draw PSNR to the run without acceleration against GFLOPs per image, a series per kind of acceleration.

    A panel has one network, solver, schedule and number of steps; those with most rows are shown.
    None where no such panel has two rows.
    """
    # data: rows that were compared, in panels of two and more
    rows = _compared_rows(rows)
    if rows.empty:
        return None
    sizes = rows.groupby(_SETTING, sort=True).size()
    settings = sorted(sizes[sizes > 1].sort_values(ascending=False, kind="stable").index[:MOST_PANELS])
    if not settings:
        return None

    places = list(rows[_SETTING].itertuples(index=False, name=None))
    shown = rows.assign(place=[settings.index(one) if one in settings else -1 for one in places])
    shown = shown[shown["place"] >= 0]

    # axes and marks
    figure, panels = new_panels(len(settings), 6.0, 4.4)
    looks, points = assign_looks(shown), []
    for place, (axes, (network, solver, schedule, steps)) in enumerate(zip(panels, settings, strict=True)):
        here = shown[shown["place"] == place]
        for series, line in here.groupby("series"):
            _plot_series(axes, line.sort_values(["gflops", "trial_id"]), looks[str(series)], str(series))
        set_log_axis(axes, "x", here["gflops"].to_numpy())
        title = one_line(f"{network}: {solver}@{schedule}, {steps:.0f} steps")
        axes.set(xlabel="GFLOPs per image (2 per multiply-add)", ylabel=axis_label("psnr"), title=title)
        axes.margins(x=0.3, y=0.16)
        label_lines(axes)
        points.append((axes, [(row["gflops"], row["psnr"], row["setting"]) for _, row in here.iterrows()]))

    # labels
    add_question(figure, "How near do images stay to those without acceleration, for how much arithmetic?")
    notes = ["small type: the parameters that differ", "intervals of 95 %", *describe_grey(looks)]
    add_note(figure, "; ".join(notes))
    fix_layout(figure)
    for axes, named in points:
        label_front(axes, [point for point in named if point[2]])
    return figure


def _compared_rows(rows: DataFrame) -> DataFrame:
    """Return the rows with a PSNR, with names of their parts, `series` and `setting`: what differs within a series."""
    rows = rows[rows["psnr"].notna() & (rows["flops_per_image"] > 0)]
    if rows.empty:
        return rows
    rows = with_colors(rows).assign(
        solver_name=name_parts(rows, "solver"),
        schedule_name=name_parts(rows, "schedule"),
        gflops=rows["flops_per_image"] / 1e9,
        series=[one_line(_kind(row)) for _, row in rows.iterrows()],
    )
    settings = [_differences(alike) for _, alike in rows.groupby("series")]
    return rows.assign(setting=concat(settings))


def _kind(row: Series) -> str:
    """Return the kind of acceleration: its denoiser, and its executor where that is not serial."""
    named = [row[part] for part, plain in (("denoiser", "full"), ("executor", "serial")) if row[part] != plain]
    return " over ".join(named) or "number format"


def _differences(rows: DataFrame) -> Series:
    """Return the values of those parameters of the denoiser in which the rows differ, as text [rows]."""
    every = [part_parameters(row, "denoiser") for _, row in rows.iterrows()]
    names = sorted({name for one in every for name in one})
    differing = [name for name in names if len({str(one.get(name)) for one in every}) > 1]
    texts = [
        one_line(", ".join(f"{name} {one.get(name)}" for name in differing if one.get(name) is not None))
        for one in every
    ]
    return Series(texts, rows.index, dtype=object)


def _plot_series(axes: Axes, line: DataFrame, look: Look, series: str) -> None:
    axes.errorbar(
        line["gflops"], line["psnr"], yerr=np.asarray(interval_sides(line, "psnr", ("psnr_low", "psnr_high"))),
        fmt="none", ecolor=look.color, elinewidth=0.9, alpha=0.5,
    )  # fmt: skip
    axes.plot(
        line["gflops"], line["psnr"], linestyle="", label=look.legend_name(series), zorder=4, **marker_style(look)
    )
