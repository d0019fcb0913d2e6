"""Parallel executors are compared at one distance to the serial answer, inside what both were measured at, or not."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import pytest
from kit import tables
from pandas import DataFrame

from harness.report.analysis.derive import Analysis, derive
from harness.report.analysis.equal_distance import HEADINGS, NO_COMMON, equal_distance_table, executor_curves
from harness.report.analysis.executor_rows import select_parallel_rows
from harness.report.figures.parallel_figures import draw_speedup_by_distance
from harness.report.figures.plot_style import report_style


@pytest.fixture(autouse=True)
def styled() -> Iterator[None]:
    with report_style():
        yield


def point(executor: str, tolerance: float, distance: float | None, speedup: float, **changes: Any) -> dict[str, Any]:
    """Return a row of an executor at one tolerance; lower-case words that no column has are its parameters."""
    steps = changes.pop("steps", 16)
    method = f"ddim/{executor}(tolerance={tolerance})"
    row = tables.row(method, steps, 5.0, 0.5, executor=executor)
    params = {"tolerance": tolerance, **{name: changes.pop(name) for name in tuple(changes) if name not in row}}
    facts = {
        "distance_to_serial": distance, "speedup_over_serial": speedup, "speedup_over_serial_low": 0.9 * speedup,
        "speedup_over_serial_high": 1.2 * speedup, "params_json": json.dumps({"executor": params}),
        "trial_id": tables.trial_id(method, steps, str(params), str(changes)),
    }  # fmt: skip
    return {**row, **facts, **changes}


def line(executor: str, points: dict[float, float], **changes: Any) -> list[dict[str, Any]]:
    """Return rows whose distances are the keys and speed-ups the values; the tolerance is the distance."""
    return [point(executor, d, d, speedup, **changes) for d, speedup in points.items()]


def analysed(*rows: dict[str, Any]) -> Analysis:
    return derive({"trials": DataFrame(rows)})


def compared(*rows: dict[str, Any]) -> list[dict[str, str]]:
    return [dict(zip(HEADINGS, row, strict=True)) for row in equal_distance_table(analysed(*rows)).rows]


def power(scale: float, exponent: float, *distances: float) -> dict[float, float]:
    """Return speed-ups that are a power of the distance: what the interpolation reads exactly."""
    return {d: scale * d**exponent for d in distances}


def test_powers_of_the_distance_are_read_exactly_in_the_middle_of_the_common_range() -> None:
    rows = [*line("srds", power(4.0, 0.25, 1e-1, 1e-3, 1e-5)), *line("paradigms", power(3.0, 0.5, 1e-4, 1e-2))]
    (found,) = compared(*rows)
    assert (found["One executor"], found["Another"], found["Steps"]) == ("ddim/paradigms", "ddim/srds", "16")
    assert (found["Distances of one"], found["Distances of the other"]) == ("0.000100 to 0.0100", "1.00e-05 to 0.100")
    assert found["Read at distance"] == "0.00100"
    one, other = 3.0 * 1e-3**0.5, 4.0 * 1e-3**0.25  # paradigms is read between its points, srds at one of them
    assert found["Speed-up of one over serial"].startswith(f"{one:.4f} [")
    assert found["Speed-up of the other"] == f"{other:.3f} [{0.9 * other:.3f}, {1.2 * other:.3f}]"
    assert found["One over the other"].startswith(f"{one / other:.3f} [")
    near, far = (0.75 * d**0.25 for d in (1e-4, 1e-2))
    assert found["The same at the common range's ends"] == f"{near:.4f} at 0.000100, {far:.3f} at 0.0100"


def test_the_interval_of_a_reading_takes_each_points_share_and_that_of_the_ratio_both_readings() -> None:
    rows = [*line("a", {1e-4: 1.0, 1e-2: 1.0 + 1e-9}), *line("b", {1e-4: 2.0, 1e-2: 2.0 + 1e-9})]
    (found,) = compared(*rows)
    down, up = (math.hypot(0.5, 0.5) * abs(math.log(side)) for side in (0.9, 1.2))  # two points of equal shares
    assert found["Speed-up of one over serial"] == f"1.00 [{math.exp(-down):.3f}, {math.exp(up):.2f}]"
    wide = math.hypot(down, up)
    assert found["One over the other"] == f"0.500 [{0.5 * math.exp(-wide):.3f}, {0.5 * math.exp(wide):.3f}]"


def test_the_faster_tolerance_is_not_the_faster_executor() -> None:
    """At their defaults b is faster; at any distance that both reach a is."""
    rows = [*line("a", power(5.0, 0.3, 1e-5, 1e-3, 1e-1)), *line("b", power(4.0, 0.3, 1e-3, 1e-2, 3e-1))]
    assert rows[0]["speedup_over_serial"] < rows[-1]["speedup_over_serial"]
    (found,) = compared(*rows)
    assert found["One over the other"].startswith("1.25 [")
    assert found["The same at the common range's ends"] == "1.25 at 0.00100, 1.25 at 0.100"


def test_without_a_common_distance_nothing_is_read() -> None:
    (found,) = compared(*line("a", {1e-6: 0.5, 1e-4: 0.7}), *line("b", {1e-3: 0.9, 1e-1: 1.5}))
    assert found["Read at distance"] == NO_COMMON
    assert found["Distances of one"] == "1.00e-06 to 0.000100"
    empty = ("Speed-up of one over serial", "Speed-up of the other", "One over the other")
    assert {found[name] for name in (*empty, "The same at the common range's ends")} == {"–"}


@pytest.mark.parametrize(
    "changes",
    [{"steps": 64}, {"solver": "heun"}, {"network": "uvit"}, {"devices": 2}, {"schedule": "edm"}, {"denoiser": "ase"},
     {"precision_dtype": "bfloat16"}],
    ids=str,
)  # fmt: skip
def test_only_executors_of_one_task_are_compared(changes: dict[str, Any]) -> None:
    a = line("a", {1e-4: 0.5, 1e-2: 0.7})
    assert len(compared(*a, *line("b", {1e-4: 0.9, 1e-2: 1.5}))) == 1
    assert compared(*a, *line("b", {1e-4: 0.9, 1e-2: 1.5}, **changes)) == []


def test_another_parameter_makes_another_curve_and_one_executor_is_not_compared_with_itself() -> None:
    wide = line("b", {1e-4: 0.9, 1e-2: 1.5}, window=32)
    narrow = line("b", {1e-4: 0.8, 1e-2: 1.4}, window=16)
    assert compared(*wide, *narrow) == []
    assert len(compared(*wide, *narrow, *line("a", {1e-4: 0.5, 1e-2: 0.7}))) == 2


def test_a_point_that_is_slower_and_further_is_left_out_of_the_line_and_a_lone_point_makes_none() -> None:
    analysis = analysed(*line("a", {1e-4: 0.5, 1e-3: 0.4, 1e-2: 0.7}), *line("b", {1e-3: 0.9}))
    (curve,) = executor_curves(select_parallel_rows(analysis.classes[0], analysis))
    assert curve.points["is_best"].tolist() == [True, False, True]
    assert curve.ends == (1e-4, 1e-2)


def test_what_is_the_serial_answer_bit_by_bit_or_was_not_measured_has_no_place_on_a_line() -> None:
    rows = [*line("a", {1e-4: 0.5, 1e-2: 0.7}), point("a", 0.0, 0.0, 0.3), point("a", 1.0, None, 2.0)]
    analysis = analysed(*rows)
    (curve,) = executor_curves(select_parallel_rows(analysis.classes[0], analysis))
    assert curve.points["distance"].tolist() == [1e-4, 1e-2]


def test_without_pairs_the_ratio_of_medians_is_taken_and_there_is_no_interval() -> None:
    nothing = dict.fromkeys(("speedup_over_serial", "speedup_over_serial_low", "speedup_over_serial_high"))
    rows = [
        point("a", 1e-4, 1e-4, 0, **nothing, serial_latency_seconds=0.1, latency_seconds=0.2),
        point("a", 1e-1, 1e-1, 0, **nothing, serial_latency_seconds=0.4, latency_seconds=0.2),
        *line("b", {1e-4: 1.0, 1e-1: 4.0}),
    ]
    (found,) = compared(*rows)
    assert found["Speed-up of one over serial"] == "1.00"  # in the middle between 0.5 and 2


def test_the_figure_has_a_panel_per_steps_and_a_line_per_executor_through_its_running_best() -> None:
    long = [*line("a", {1e-4: 0.6, 1e-2: 0.9}, steps=64), *line("b", {1e-3: 0.6, 1e-2: 0.9}, steps=64)]
    rows = [*line("a", {1e-4: 0.5, 1e-3: 0.4, 1e-2: 0.7}), *long]
    analysis = analysed(*rows)
    figure = draw_speedup_by_distance(select_parallel_rows(analysis.classes[0], analysis))
    assert figure is not None
    left, right = figure.axes
    assert [axes.get_title(loc="left") for axes in (left, right)] == ["16 steps", "64 steps"]
    drawn = {str(one.get_label()): one.get_xydata().tolist() for one in left.get_lines()}
    assert drawn["ddim/a"] == [[1e-4, 0.5], [1e-2, 0.7]]
    assert any(one.get_xydata().tolist() == [[1e-4, 0.5], [1e-3, 0.4], [1e-2, 0.7]] for one in left.get_lines())
    assert {"ddim/a", "ddim/b"} == {str(one.get_label()) for one in right.get_lines() if one.get_label()[0] != "_"}
    assert left.get_xscale() == "log"
    assert draw_speedup_by_distance(select_parallel_rows(analysis.classes[0], analysis).iloc[:1]) is None
