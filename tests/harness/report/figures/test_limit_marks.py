"""Limits of networks in plots of FID: where they come from, where they are drawn, which rows lie below."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
import pytest
from kit import tables
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pandas import DataFrame

from harness.report.analysis.derive import ResourceClass, derive
from harness.report.analysis.limits import BELOW_LIMIT, network_limits
from harness.report.analysis.rows import typed_table
from harness.report.figures.limit_marks import (
    BELOW_MARK,
    LIMIT_LABEL,
    find_rows_below,
    plot_limits,
)
from harness.report.figures.plot_style import fix_layout, new_figure, report_style
from harness.report.figures.quality_figures import draw_fid_flops, draw_fid_nfe, draw_fid_time, draw_schedules
from harness.report.figures.schedule_figures import draw_error_by_steps
from harness.report.figures.series_looks import assign_class_looks
from harness.report.figures.shared_steps_plot import plot_fid_at_steps
from harness.report.figures.speedup_figure import draw_equal_quality
from harness.report.figures.training_figure import draw_quality_by_training


@pytest.fixture(autouse=True)
def styled() -> Iterator[None]:
    with report_style():
        yield


def with_limit(value: float, half: float) -> dict:
    return {"network_limit_fid": value, "network_limit_fid_low": value - half, "network_limit_fid_high": value + half}


def row(method: str, steps: int, fid: float, **changes: object) -> dict:
    """Return a row with an id of its own on its network."""
    made = tables.row(method, steps, fid, 0.2, **changes)
    return {**made, "trial_id": tables.trial_id(method, steps, made["network"])}


def made(value: float, half: float = 0.1) -> ResourceClass:
    """Return the class of the synthetic run, on one network of this limit."""
    return derive(tables.tables(lambda table: table.assign(**with_limit(value, half)))).classes[0]


def heights(axes: Axes) -> list[float]:
    """Return the heights of lines that cross the axes."""
    return [line.get_ydata()[0] for line in axes.get_lines() if list(line.get_xdata()) == [0, 1]]


def rings(axes: Axes) -> set[tuple[float, float]]:
    every = [line for line in axes.get_lines() if line.get_markersize() == 12 and line.get_markerfacecolor() == "none"]
    return {(float(x), float(y)) for line in every for x, y in line.get_xydata()}


def test_a_row_is_below_where_the_difference_exceeds_both_uncertainties_together() -> None:
    rows = typed_table("trials", DataFrame([
        row("far", 5, 1.4, fid_low=1.1, fid_high=1.7, **with_limit(2.0, 0.4)),  # 0.6 > hypot(0.3, 0.4)
        row("near", 5, 1.51, fid_low=1.21, fid_high=1.81, **with_limit(2.0, 0.4)),  # 0.49 is not
        row("above", 5, 9.0, **with_limit(2.0, 0.4)),
        row("unknown", 5, 0.1, fid_low=math.nan, fid_high=math.nan, **with_limit(2.0, 0.4)),
    ]))  # fmt: skip
    assert find_rows_below(rows, network_limits(rows)).tolist() == [True, False, False, False]
    assert find_rows_below(rows, {}).tolist() == [False] * 4


@pytest.mark.parametrize("draw", [draw_fid_time, draw_fid_flops, draw_fid_nfe, draw_schedules])
def test_every_plot_of_fid_has_the_limit_and_rings_the_rows_below(
    draw: Callable[[ResourceClass, dict], Figure],
) -> None:
    one = made(3.0)
    limit = network_limits(one.rows)
    figure = draw(one, limit)
    x = {"draw_fid_time": "relative_time", "draw_fid_flops": "flops_per_image"}.get(draw.__name__, "nfe")
    scale = 1e9 if x == "flops_per_image" else 1.0
    wanted = one.rows[find_rows_below(one.rows, limit)]
    wanted = wanted[wanted["solver"] == "ddim"] if draw is draw_schedules else wanted
    wanted = wanted[wanted["executor"] == "serial"]
    assert 0 < len(wanted) < len(one.rows) / 2
    for axes in figure.axes:
        assert heights(axes) == [3.0]
        assert any(text.get_text() == "limit of unet-small: 3.00 ± 0.10" for text in axes.texts)
    assert rings(figure.axes[0]) == {(x / scale, fid) for x, fid in zip(wanted[x], wanted["fid"], strict=True)}
    assert BELOW_LIMIT in [text.get_text() for text in figure.legends[0].get_texts()]


def test_a_network_without_a_card_has_no_limit_in_a_plot() -> None:
    one = derive(tables.tables(lambda table: table.assign(network_limit_fid=math.nan))).classes[0]
    figure = draw_fid_nfe(one, network_limits(one.rows))
    assert figure is not None
    assert all(heights(axes) == [] and not any("limit" in text.get_text() for text in axes.texts)
               for axes in figure.axes)  # fmt: skip
    assert LIMIT_LABEL not in [text.get_text() for text in figure.legends[0].get_texts()]


def test_no_row_below_no_mark() -> None:
    one = made(0.5)
    figure = draw_fid_nfe(one, network_limits(one.rows))
    assert figure is not None
    assert rings(figure.axes[0]) == set()
    assert BELOW_LIMIT not in [text.get_text() for text in figure.legends[0].get_texts()]


def test_the_figures_without_an_axis_of_fid_mark_the_names() -> None:
    one = made(3.0)
    figure = draw_equal_quality(one, network_limits(one.rows))
    assert figure is not None
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    below = one.rows[find_rows_below(one.rows, network_limits(one.rows))]
    best = below["method"].nunique()  # all rows of these methods are below
    assert 0 < sum(name.endswith(BELOW_MARK) for name in names) <= best
    assert f"{BELOW_MARK} {BELOW_LIMIT}" in figure.get_supxlabel()


def test_fid_at_equal_steps_has_the_limit_of_each_rows_network() -> None:
    rows = typed_table("trials", DataFrame([
        row("a", 5, 3.0, network="one", **with_limit(1.5, 0.1)),
        row("a", 5, 2.0, network="two", **with_limit(2.5, 0.1)),
    ])).assign(series=["one:a", "two:a"])  # fmt: skip
    _, (axes,) = new_figure(6, 4)
    looks = assign_class_looks(rows.assign(relative_time=1.0))
    _, dots = plot_fid_at_steps(axes, rows, looks, network_limits(rows))
    assert [(dot.name, dot.value, dot.limit) for dot in dots] == [("two:a", 2.0, 2.5), ("one:a", 3.0, 1.5)]
    assert [dot.remark for dot in dots] == [f"2.00{BELOW_MARK}", "3.00"]
    ticks = [line for line in axes.get_lines() if len(set(line.get_xdata())) == 1 and len(line.get_xdata()) == 2]
    assert {(line.get_xdata()[0], np.mean(line.get_ydata())) for line in ticks} == {(2.5, 1.0), (1.5, 0.0)}


def test_fid_by_steps_and_training_have_it_too() -> None:
    rows = typed_table("trials", DataFrame([
        {**row(f"ddim@{name}", steps, fid, schedule=name, truncation_error=0.1, **with_limit(1.5, 0.1)),
         "params_json": "{}"}
        for name in ("edm", "even") for steps, fid in ((5, 4.0), (10, 1.0))
    ]))  # fmt: skip
    figure = draw_error_by_steps(rows, "fid", network_limits(rows))
    assert figure is not None
    assert heights(figure.axes[0]) == [1.5]
    assert "limit of unet-small: 1.50 ± 0.10" in [text.get_text() for text in figure.axes[0].texts]
    assert rings(figure.axes[0]) == {(10.0, 1.0)}
    assert BELOW_LIMIT in figure.get_supxlabel()

    rows = typed_table("trials", DataFrame([
        tables.row("ddim", 10, 5.0, 1.0, network=name, network_like="unet", prepare_seconds=seconds, trial_id=name,
                   **with_limit(limit, 0.1))
        for name, seconds, limit in (("unet", 60.0, 1.5), ("unet-short", 15.0, 2.5))
    ]))  # fmt: skip
    figure = draw_quality_by_training(rows, network_limits(rows))
    assert figure is not None
    (dashes,) = [line for line in figure.axes[0].get_lines() if line.get_label() == LIMIT_LABEL]
    assert sorted(map(tuple, dashes.get_xydata())) == [(15.0, 2.5), (60.0, 1.5)]


def test_names_of_many_limits_lie_apart_and_near_their_lines() -> None:
    rows = typed_table("trials", DataFrame([
        row("a", 5, 3.0, network=f"n{k}", **with_limit(1.0 + 0.002 * k, 0.1)) for k in range(5)
    ] + [row("a", 5, 3.0, network="other", **with_limit(4.0, 0.1))]))  # fmt: skip
    figure, (axes,) = new_figure(6, 5)
    axes.set_ylim(0.5, 5.0)
    labels = plot_limits(axes, network_limits(rows))
    assert sorted(heights(axes)) == sorted(network_limits(rows)[name].fid for name in network_limits(rows))
    fix_layout(figure)
    boxes = sorted((label.get_window_extent() for label in labels), key=lambda box: box.y0)
    assert len(boxes) == 6
    assert all(low.y1 <= high.y0 for low, high in pairwise(boxes))
    at = axes.transData.transform((0, 4.0))[1]
    assert (boxes[-1].y0 + boxes[-1].y1) / 2 == pytest.approx(at, abs=1.0)
