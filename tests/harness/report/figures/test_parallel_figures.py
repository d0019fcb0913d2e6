"""The figures of parallel executors: distances by refinement, refinements by tolerance, speed-up by devices."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from kit import tables
from matplotlib.axes import Axes
from pandas import DataFrame

from harness.report.analysis.derive import derive
from harness.report.analysis.executor_rows import select_parallel_rows
from harness.report.analysis.rows import typed_table
from harness.report.figures.margin_labels import MarginLabel
from harness.report.figures.parallel_figures import (
    draw_error_by_refinement,
    draw_iterations_by_tolerance,
    draw_speedup_by_devices,
)
from harness.report.figures.plot_style import render_figure, report_style

NOTHING = DataFrame(columns=["trial_id", "refinement", "distance_to_serial"])


@pytest.fixture(autouse=True)
def styled() -> Iterator[None]:
    with report_style():
        yield


def srds(method: str, steps: int = 16, executor: str = "srds", **changes: object) -> dict:
    """Return a row of a parallel executor; lower-case words that no column has are parameters of the executor."""
    row = tables.row(method, steps, 5.0, 0.5, executor=executor)
    params = {name: changes.pop(name) for name in tuple(changes) if name not in row or name == "devices"}
    facts = {"params_json": json.dumps({"executor": params}), "devices": params.get("devices", 1), **changes}
    return {**row, "trial_id": tables.trial_id(method, steps), **facts}


def shown(*rows: dict) -> DataFrame:
    """Return the rows as the figures get them."""
    analysis = derive({"trials": DataFrame(rows)})
    return select_parallel_rows(analysis.classes[0], analysis)


def record(row: dict, distances: list[float]) -> list[dict]:
    return [
        {"trial_id": row["trial_id"], "attempt": 1, "refinement": float(p), "distance_to_serial": distance}
        for p, distance in enumerate(distances)
    ]


def lines(axes: Axes) -> dict[str, list[tuple[float, float]]]:
    """Return the points of every named line."""
    named = [line for line in axes.get_lines() if not str(line.get_label()).startswith("_")]
    return {str(line.get_label()): [(float(x), float(y)) for x, y in line.get_xydata()] for line in named}


def named(axes: Axes) -> list[str]:
    """Return the names at the right of the axes."""
    return sorted(text.get_text() for text in axes.texts if isinstance(text, MarginLabel))


def on_the_axis(axes: Axes) -> list[list[list[float]]]:
    """Return the points of what stands on the axis."""
    return [line.get_xydata().tolist() for line in axes.get_lines() if not line.get_clip_on()]


def test_rows_on_any_number_of_devices_are_shown_once_and_serial_ones_not() -> None:
    rows = [srds("srds"), srds("srds-2", devices=2), tables.row("ddim", 16, 5.0, 1.0), srds("other", device_name="b")]
    analysis = derive({"trials": DataFrame(rows)})
    found = [sorted(select_parallel_rows(one, analysis)["method"]) for one in analysis.classes]
    assert sorted(found) == [[], ["other"], ["srds", "srds-2"]]


def test_a_later_class_has_no_figures_of_its_own() -> None:
    analysis = derive({"trials": DataFrame([srds("a"), srds("b", devices=2)])})
    later = select_parallel_rows(analysis.classes[1], analysis)
    assert draw_error_by_refinement(later, analysis.tables["refinements"]) is None
    assert draw_iterations_by_tolerance(later) is None
    assert draw_speedup_by_devices(later, analysis.tables["virtual"]) is None


def test_networks_are_named_where_there_are_several() -> None:
    assert set(shown(srds("a"), srds("b"))["series"]) == {"a", "b"}
    assert set(shown(srds("a"), srds("b", network="uvit"))["series"]) == {"unet-small:a", "uvit:b"}


def test_every_row_has_a_line_of_its_distances_in_the_panel_of_its_steps() -> None:
    one, two, other = srds("one"), srds("two"), srds("one", 64)
    refinements = DataFrame([
        *record(one, [1e-1, 1e-3, 1e-5]), *record(two, [1e-1, 1e-2]), *record(other, [2e-1, 1e-4, 1e-8, 0.0]),
    ])  # fmt: skip
    figure = draw_error_by_refinement(shown(one, two, other), refinements.sample(frac=1, random_state=0))
    assert figure is not None
    left, right = figure.axes
    assert [axes.get_title(loc="left") for axes in (left, right)] == ["srds, 16 steps", "srds, 64 steps"]
    assert lines(left) == {"one": [(0, 1e-1), (1, 1e-3), (2, 1e-5)], "two": [(0, 1e-1), (1, 1e-2)]}
    assert lines(right) == {"one": [(0, 2e-1), (1, 1e-4), (2, 1e-8)]}
    assert left.get_yscale() == right.get_yscale() == "log"
    assert [[3, 0]] in on_the_axis(right)
    assert not any(on_the_axis(left))
    assert "bit by bit" in figure.get_supxlabel()
    assert named(left) == ["one", "two"]
    assert named(right) == ["one"]


def test_a_record_that_never_is_exact_says_nothing_of_triangles() -> None:
    row = srds("one")
    figure = draw_error_by_refinement(shown(row), DataFrame(record(row, [1e-1, 1e-3])))
    assert figure is not None
    assert "triangle" not in figure.get_supxlabel()


def test_no_record_no_figure() -> None:
    assert draw_error_by_refinement(shown(srds("one")), NOTHING) is None
    assert draw_error_by_refinement(shown(tables.row("ddim", 16, 5.0, 1.0)), NOTHING) is None


def stopped(tolerance: float, mean: float, most: int, steps: int = 16, **params: object) -> dict:
    name = f"ddim/srds(form=batched,tolerance={tolerance})"
    facts = {"tolerance": tolerance, "iterations": mean, "iterations_most": most, "form": "batched", **params}
    return srds(name, steps, **facts)


def test_refinements_are_drawn_against_the_tolerance_mean_and_most() -> None:
    rows = [stopped(1e-2, 1.5, 2), stopped(1e-4, 3.5, 5), stopped(1e-3, 2.0, 3), stopped(1e-3, 4.0, 6, steps=64)]
    figure = draw_iterations_by_tolerance(shown(*rows))
    assert figure is not None
    (axes,) = figure.axes
    assert lines(axes) == {"ddim/srds(form=batched), 16 steps": [(1e-4, 3.5), (1e-3, 2.0), (1e-2, 1.5)]}
    dashed = [line.get_xydata().tolist() for line in axes.get_lines() if line.get_linestyle() == "--"]
    assert dashed == [[[1e-4, 5], [1e-3, 3], [1e-2, 2]]]
    assert axes.get_xscale() == "log"


def test_rows_that_differ_in_more_than_the_tolerance_make_no_line() -> None:
    assert draw_iterations_by_tolerance(shown(stopped(1e-2, 1.5, 2))) is None
    assert draw_iterations_by_tolerance(shown(stopped(1e-2, 1.5, 2), stopped(1e-3, 2.0, 3, form="vanilla"))) is None
    assert draw_iterations_by_tolerance(shown(stopped(1e-2, 1.5, 2), stopped(0.0, 4.0, 4))) is None
    assert (
        draw_iterations_by_tolerance(shown(stopped(1e-2, 1.5, 2), {**stopped(1e-3, 1, 1), "iterations": None})) is None
    )
    assert draw_iterations_by_tolerance(shown(tables.row("ddim", 16, 5.0, 1.0))) is None
    assert draw_iterations_by_tolerance(shown(stopped(1e-2, 1.5, 2), stopped(1e-3, 1.6, 2))) is not None


def replayed(row: dict, latencies: dict[int, float], serial: float = 0.12) -> DataFrame:
    return typed_table(
        "virtual",
        DataFrame([
            {"trial_id": row["trial_id"], "attempt": 1, "devices": d, "is_real": d == row["devices"],
             "serial_seconds": serial, "virtual_latency_seconds": seconds}
            for d, seconds in latencies.items()
        ]),
    )  # fmt: skip


def timed(method: str, latency: float, steps: int = 16, **params: object) -> dict:
    return srds(method, steps, latency_seconds=latency, serial_latency_seconds=0.12, **params)


def test_measured_and_virtual_speedups_are_told_apart() -> None:
    one, two = timed("ddim/srds", 0.1), timed("ddim/srds(devices=2)", 0.08, devices=2)
    figure = draw_speedup_by_devices(shown(one, two), replayed(two, {4: 0.03, 1: 0.12, 2: 0.06}))
    assert figure is not None
    (axes,) = figure.axes
    found = lines(axes)
    assert found["ddim/srds"] == [(1, pytest.approx(1.2)), (2, pytest.approx(1.5))]
    assert found["ddim/srds, virtual"] == [(1, 1), (2, 2), (4, 4)]
    assert found["ideal: as many times as devices"] == [(1, 1), (4, 4)]
    model = next(line for line in axes.get_lines() if line.get_label() == "ddim/srds, virtual")
    assert model.get_markerfacecolor() == "white"
    assert model.get_linestyle() == "--"
    real = next(line for line in axes.get_lines() if line.get_label() == "ddim/srds")
    assert real.get_linestyle() == "-"
    assert real.get_markerfacecolor() != "white"
    assert "virtual" in figure.get_supxlabel()
    assert named(axes) == ["ddim/srds"]


def test_a_paired_speedup_is_drawn_with_its_interval() -> None:
    paired = {"speedup_over_serial": 1.4, "speedup_over_serial_low": 1.3, "speedup_over_serial_high": 1.6}
    one, two = timed("srds", 0.1), {**timed("srds(devices=2)", 0.1, devices=2), **paired}
    figure = draw_speedup_by_devices(shown(one, two), typed_table("virtual", None))
    assert figure is not None
    assert lines(figure.axes[0])["srds"] == [(1, pytest.approx(1.2)), (2, pytest.approx(1.4))]
    (bars,) = figure.axes[0].containers[0].lines[2]
    assert bars.get_segments()[1][:, 1].tolist() == pytest.approx([1.3, 1.6])


def test_without_virtual_times_only_measured_ones_and_the_other_way_round() -> None:
    one, two, none = timed("srds", 0.1), timed("srds(devices=2)", 0.08, devices=2), typed_table("virtual", None)
    figure = draw_speedup_by_devices(shown(one, two), none)
    assert figure is not None
    assert not any("virtual" in name for name in lines(figure.axes[0]))
    unmeasured = {**two, "serial_latency_seconds": None}
    assert draw_speedup_by_devices(shown(unmeasured), none) is None
    figure = draw_speedup_by_devices(shown(unmeasured), replayed(two, {1: 0.12, 2: 0.06}))
    assert figure is not None
    assert lines(figure.axes[0])["srds, virtual"] == [(1, 1), (2, 2)]


def test_one_number_of_devices_is_no_curve() -> None:
    one, other = timed("srds", 0.1), timed("other(devices=2)", 0.1, devices=2)
    assert draw_speedup_by_devices(shown(one), replayed(one, {1: 0.1})) is None
    assert draw_speedup_by_devices(shown(one, other), replayed(one, {1: 0.1})) is None
    figure = draw_speedup_by_devices(shown(one, other), replayed(other, {1: 0.1, 2: 0.1}))
    assert figure is not None
    assert not any(name.startswith("srds") for name in lines(figure.axes[0]))
    assert draw_speedup_by_devices(shown(tables.row("ddim", 16, 5.0, 1.0)), typed_table("virtual", None)) is None


def test_the_bytes_are_the_same_whatever_the_order_of_the_rows() -> None:
    rows = DataFrame([timed("a", 0.1), timed("b", 0.08, devices=2)])
    virtual = replayed(rows.loc[1].to_dict(), {1: 0.12, 2: 0.07, 4: 0.05})
    drawn = []
    for seed in (1, 2):
        mixed = shown(*rows.sample(frac=1, random_state=seed).to_dict("records"))
        figure = draw_speedup_by_devices(mixed, virtual.sample(frac=1, random_state=seed))
        assert figure is not None
        drawn.append(render_figure(figure)["svg"])
    assert drawn[0] == drawn[1]
