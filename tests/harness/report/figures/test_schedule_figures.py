"""The figures of schedules: their levels side by side, and error against the number of steps."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
from kit import tables
from matplotlib.figure import Figure
from pandas import DataFrame

from harness.report.analysis.alike import name_parts
from harness.report.analysis.rows import typed_table
from harness.report.figures.plot_style import INK, render_figure, report_style
from harness.report.figures.schedule_figures import _distinct_names, draw_error_by_steps, draw_levels_by_step


@pytest.fixture(autouse=True)
def styled() -> Iterator[None]:
    with report_style():
        yield


def row(schedule: str, steps: int, *, method: str | None = None, **changes: object) -> dict:
    """Return a row of a schedule, which may have parameters in brackets, under ddim."""
    solver = str(changes.get("solver", "ddim"))
    method = method or f"{solver}@{schedule}"
    made = tables.row(method, steps, 5.0, 0.5, schedule=schedule.partition("(")[0], **changes)
    return {**made, "trial_id": tables.trial_id(method, steps, made["network"])}


def grid(row: dict, power: float) -> list[float]:
    return [
        round(float(level), 9)
        for level in np.linspace(80 ** (1 / power), 0.02 ** (1 / power), row["steps"] + 1) ** power
    ]


def steps_of(row: dict, levels: list[float]) -> DataFrame:
    return DataFrame({
        "trial_id": row["trial_id"], "attempt": 1, "step": range(len(levels) - 1), "sigma": levels[:-1],
        "sigma_next": levels[1:],
    })  # fmt: skip


def made(*grids: tuple[dict, float]) -> tuple[DataFrame, DataFrame]:
    """Return rows, and steps on polynomial grids of the given powers, shuffled."""
    steps = pd.concat([steps_of(row, grid(row, power)) for row, power in grids])
    return typed_table("trials", DataFrame([row for row, _ in grids])), steps.sample(frac=1, random_state=0)


def lines(figure: Figure, panel: int = 0) -> dict[str, list[tuple[float, float]]]:
    axes = figure.axes[panel]
    found = zip(*axes.get_legend_handles_labels(), strict=True)
    drawn = {name: handle.lines[0] if hasattr(handle, "lines") else handle for handle, name in found}
    return {name: [(float(x), float(y)) for x, y in line.get_xydata()] for name, line in drawn.items()}


def titles(figure: Figure) -> list[str]:
    return [axes.get_title(loc="left") for axes in figure.axes]


def test_each_schedule_is_a_line_from_the_highest_level_to_the_last() -> None:
    figure = draw_levels_by_step(*made((row("edm", 5), 7), (row("even", 5), 1)))
    assert figure is not None
    assert titles(figure) == ["5 steps"]
    assert lines(figure) == {
        name: list(enumerate(grid(row("any", 5), power))) for name, power in (("edm", 7), ("even", 1))
    }
    assert figure.axes[0].get_yscale() == "log"


def test_one_schedule_under_several_solvers_is_drawn_once() -> None:
    figure = draw_levels_by_step(
        *made((row("edm", 5), 7), (row("edm", 5, solver="heun"), 7), (row("few(rounds=2)", 5), 3)),
    )
    assert figure is not None
    assert sorted(lines(figure)) == ["edm", "few(rounds=2)"]
    assert len(figure.axes[0].get_lines()) == 2


def test_a_schedule_that_is_another_under_another_solver_names_its_method() -> None:
    figure = draw_levels_by_step(
        *made((row("edm", 5), 7), (row("learnt", 5), 3), (row("learnt", 5, solver="heun"), 4), (row("edm", 8), 7)),
    )
    assert figure is not None
    assert sorted(lines(figure)) == ["edm", "learnt of ddim@learnt", "learnt of heun@learnt"]


def test_panels_are_the_step_counts_with_most_schedules_on_the_network_with_most() -> None:
    grids = [(row(name, steps), power) for name, power in (("edm", 7), ("even", 1)) for steps in (4, 5, 6, 8, 10)]
    grids += [(row("third", 10), 2), (row("third", 8), 2), (row("edm", 20), 7)]
    grids += [(row("elsewhere", 20, network="uvit"), 2), (row("edm", 20, network="uvit"), 7)]
    figure = draw_levels_by_step(*made(*grids))
    assert figure is not None
    assert titles(figure) == ["4 steps", "5 steps", "8 steps", "10 steps"]
    assert len(lines(figure, 3)) == 3
    assert "unet-small" in figure.get_supxlabel()


def test_the_baseline_is_black_and_a_level_of_zero_is_left_out() -> None:
    base, other = row("edm", 3, is_baseline=True), row("other", 3)
    steps = pd.concat([steps_of(base, [9.0, 3.0, 1.0, 0.0]), steps_of(other, [9.0, 5.0, 2.0, 0.5])])
    figure = draw_levels_by_step(typed_table("trials", DataFrame([other, base])), steps)
    assert figure is not None
    assert lines(figure)["edm"] == [(0, 9), (1, 3), (2, 1)]
    colors = dict(zip(*reversed(figure.axes[0].get_legend_handles_labels()), strict=True))
    assert colors["edm"].get_color() == INK != colors["other"].get_color()


def test_one_schedule_or_no_steps_are_no_comparison() -> None:
    assert draw_levels_by_step(*made((row("edm", 5), 7), (row("edm", 8), 7))) is None
    assert draw_levels_by_step(*made((row("edm", 5), 7), (row("even", 8), 1))) is None
    assert (
        draw_levels_by_step(
            typed_table("trials", DataFrame([row("edm", 5), row("even", 5)])), typed_table("steps", None)
        )
        is None
    )


def curve(schedule: str, errors: dict[int, float], **changes: object) -> list[dict]:
    """Return rows with these errors by steps, their intervals from 0.9 to 1.2 of them."""
    ends = {"low": 0.9, "high": 1.2}
    return [
        row(schedule, steps, truncation_error=e, **{f"truncation_error_{k}": f * e for k, f in ends.items()}, **changes)
        for steps, e in errors.items()
    ]


TWO = (curve("edm", {5: 0.3, 10: 0.1}), curve("few", {5: 0.2, 10: 0.05}))


def trials(*curves: list[dict]) -> DataFrame:
    return typed_table("trials", DataFrame([row for curve in curves for row in curve]))


def test_error_is_drawn_per_schedule_and_denoiser_in_a_panel_per_solver() -> None:
    figure = draw_error_by_steps(
        trials(
            curve("edm", {10: 0.1, 5: 0.3}), curve("few", {5: 0.2, 10: 0.05}),
            curve("edm", {5: 0.25, 10: 0.08}, denoiser="tuned", method="tuned/ddim@edm"),
            curve("few", {5: 0.15, 10: 0.04}, denoiser="tuned", method="tuned/ddim@few"),
            curve("edm", {5: 0.2, 10: 0.02}, solver="heun"), curve("few", {5: 0.3, 10: 0.01}, solver="heun"),
            curve("edm", {5: 9.0, 10: 9.0}, denoiser="shallow", method="shallow/ddim@edm"),
            curve("few", {5: 9.0, 10: 9.0}, executor="srds", method="ddim@few/srds"),
        ),
        "truncation_error",
    )  # fmt: skip
    assert figure is not None
    assert titles(figure) == ["ddim on unet-small", "heun on unet-small"]
    assert lines(figure, 0) == {
        "edm": [(5, 0.3), (10, 0.1)], "few": [(5, 0.2), (10, 0.05)],
        "edm, tuned denoiser": [(5, 0.25), (10, 0.08)], "few, tuned denoiser": [(5, 0.15), (10, 0.04)],
    }  # fmt: skip
    assert lines(figure, 1) == {"edm": [(5, 0.2), (10, 0.02)], "few": [(5, 0.3), (10, 0.01)]}
    assert {axes.get_xscale() for axes in figure.axes} == {axes.get_yscale() for axes in figure.axes} == {"log"}


def test_error_bars_reach_the_ends_of_the_interval() -> None:
    figure = draw_error_by_steps(trials(*TWO), "truncation_error")
    assert figure is not None
    (bars,) = figure.axes[0].containers[0].lines[2]
    assert bars.get_segments()[0][:, 1].tolist() == pytest.approx([0.27, 0.36])


def test_fid_is_drawn_the_same_way() -> None:
    rows = trials(*TWO)
    figure = draw_error_by_steps(rows.assign(fid=rows["steps"]), "fid")
    assert figure is not None
    assert lines(figure)["few"] == [(5, 5), (10, 10)]


def test_rows_of_one_name_and_other_parameters_name_their_method() -> None:
    other = curve("few", {5: 0.4, 10: 0.2}, method="control")
    figure = draw_error_by_steps(trials(*TWO, other), "truncation_error")
    assert figure is not None
    assert sorted(lines(figure)) == ["edm", "few of control", "few of ddim@few"]


def test_error_wants_two_step_counts_and_two_schedules() -> None:
    assert draw_error_by_steps(trials(curve("edm", {5: 0.3, 10: 0.1})), "truncation_error") is None
    assert draw_error_by_steps(trials(curve("edm", {5: 0.3}), curve("few", {5: 0.2})), "truncation_error") is None
    assert (
        draw_error_by_steps(trials(curve("edm", {5: 0.3, 10: 0.1}), curve("few", {5: 0.2})), "truncation_error") is None
    )
    assert draw_error_by_steps(trials(*TWO).assign(truncation_error=np.nan), "truncation_error") is None
    assert draw_error_by_steps(trials(*TWO), "truncation_error") is not None


def test_no_rows_have_no_figure() -> None:
    nothing = trials(*TWO).iloc[:0]
    assert draw_error_by_steps(nothing, "truncation_error") is None
    assert draw_levels_by_step(nothing, typed_table("steps", None)) is None
    assert _distinct_names(nothing["schedule"], nothing["steps"] > 0, nothing["method"]) == []


def test_parts_are_named_with_the_parameters_of_the_display_name() -> None:
    rows = typed_table("trials", DataFrame([
        row("few", 5, method="few(a=1)/unipc(order=3)@few(rounds=2)/srds(most=1)", denoiser="few", solver="unipc"),
        row("few", 5, method="few/ddim@few(rounds=2)", denoiser="few"),
        row("few", 5, method="a label", denoiser="few"),
    ]))  # fmt: skip
    names = [name_parts(rows, part).tolist() for part in ("denoiser", "schedule", "solver")]
    assert names == [
        ["few(a=1)", "few", "few"],
        ["few(rounds=2)", "few(rounds=2)", "few(rounds=2)"],  # the label's row has the parameters of the others
        ["unipc(order=3)", "ddim", "ddim"],
    ]


def test_the_bytes_are_the_same_whatever_the_order_of_the_rows() -> None:
    rows, steps = made(*[(row(name, n), power) for name, power in (("edm", 7), ("even", 1)) for n in (5, 8)])
    rows = rows.assign(truncation_error=[0.3, 0.2, 0.1, 0.05])
    drawn = []
    for seed in (1, 2):
        mixed = rows.sample(frac=1, random_state=seed)
        figures = (
            draw_levels_by_step(mixed, steps.sample(frac=1, random_state=seed)),
            draw_error_by_steps(mixed, "truncation_error"),
        )
        drawn.append([render_figure(figure)["svg"] for figure in figures if figure is not None])
    assert len(drawn[0]) == 2
    assert drawn[0] == drawn[1]
