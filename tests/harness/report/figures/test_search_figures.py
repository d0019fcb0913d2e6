"""The figures of searches, of widths per step and of training budgets, from rows made up for them."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pandas as pd
import pytest
from kit import tables
from pandas import DataFrame

from harness.report.analysis.rows import typed_table
from harness.report.figures.plot_style import report_style
from harness.report.figures.search_figure import draw_search_front
from harness.report.figures.training_figure import draw_quality_by_training
from harness.report.figures.width_figure import draw_widths_by_step


@pytest.fixture(autouse=True)
def styled() -> Iterator[None]:
    with report_style():
        yield


def trials(*rows: dict) -> DataFrame:
    return typed_table("trials", DataFrame(rows))


def tried(trial_id: str, flops: float, fid: float, candidate: str, **flags: object) -> dict:
    return {
        "trial_id": trial_id, "attempt": 1, "part": "denoiser", "round": 0, "candidate_json": candidate, "n_images": 64,
        "fid": fid, "flops_per_image": flops, "objective": fid, "is_final": False, "is_chosen": False, **flags,
    }  # fmt: skip


def searches(trial_id: str) -> DataFrame:
    """Return three candidates on a front and one behind it; the cheapest is chosen, with another FID on fresh noise."""
    return typed_table(
        "searches",
        DataFrame([
            tried(trial_id, 1e9, 9.0, "a"), tried(trial_id, 2e9, 5.0, "b"), tried(trial_id, 3e9, 4.0, "c"),
            tried(trial_id, 2.5e9, 8.0, "d"),
            tried(trial_id, 1e9, 77.0, "a", is_final=True, is_chosen=True),
            tried(trial_id, 2e9, 78.0, "b", is_final=True),
        ]),
    )  # fmt: skip


def test_a_search_shows_its_candidates_their_front_and_the_choice_where_the_search_saw_it() -> None:
    row = tables.row("ddsm", 8, 5.0, 0.5, denoiser="ddsm")
    figure = draw_search_front(trials(row), searches(row["trial_id"]))
    assert figure is not None
    dots, front, star = figure.axes[0].get_lines()
    assert sorted(zip(dots.get_xdata(), dots.get_ydata(), strict=True)) == [(1, 9), (2, 5), (2.5, 8), (3, 4)]
    assert list(zip(front.get_xdata(), front.get_ydata(), strict=True)) == [(1, 9), (2, 5), (3, 4)]
    assert list(zip(star.get_xdata(), star.get_ydata(), strict=True)) == [(1, 9)]


def test_searches_under_two_solvers_stand_in_two_panels() -> None:
    rows = [tables.row(f"ddsm {s}", 8, 5.0, 0.5, denoiser="ddsm", solver=s) for s in ("ddim", "ddpm")]
    both = pd.concat([searches(row["trial_id"]) for row in rows])
    figure = draw_search_front(trials(*rows), both)
    assert figure is not None
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        f"{solver}, 8 steps, unet-small" for solver in ("ddim", "ddpm")
    ]


def test_no_search_no_figure() -> None:
    row = tables.row("ddim", 8, 5.0, 0.5)
    assert draw_search_front(trials(row), typed_table("searches", None)) is None


def steps_of(trial_id: str, widths: list[float]) -> DataFrame:
    return DataFrame([
        {"trial_id": trial_id, "step": k, "units_json": json.dumps({f"width-{width:g}": 40})}
        for k, width in enumerate(widths)
    ])  # fmt: skip


def test_the_map_of_widths_holds_a_line_per_schedule_that_changes() -> None:
    changing, constant = tables.row("ddsm", 3, 5.0, 0.5), tables.row("half", 3, 6.0, 0.5)
    steps = pd.concat([steps_of(changing["trial_id"], [0.25, 0.5, 1.0]), steps_of(constant["trial_id"], [0.5] * 3)])
    figure = draw_widths_by_step(trials(changing, constant), steps)
    assert figure is not None
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["unet-small:ddsm-3"]
    assert [text.get_text() for text in axes.texts] == ["0.25", "0.5", "1"]
    assert draw_widths_by_step(trials(constant), steps) is None


@pytest.mark.filterwarnings("error")
def test_a_long_name_leaves_the_widths_their_room() -> None:
    rows = [tables.row("ddsm(flops_weight=20.0,generations=8,population=12,search_images=400)/ddim", 3, 5.0, 0.5)]
    figure = draw_widths_by_step(trials(*rows), steps_of(rows[0]["trial_id"], [0.25, 0.5, 1.0]))
    assert figure is not None
    figure.draw_without_rendering()
    axes = figure.axes[0]
    assert axes.get_window_extent().width / figure.dpi > 3 * 0.3  # inches a cell
    (name,) = (label.get_window_extent() for label in axes.get_yticklabels())
    assert name.x0 >= 0


def test_steps_of_unequal_schedules_and_other_units_do_not_disturb_the_map() -> None:
    rows = [tables.row("long", 4, 5.0, 0.5), tables.row("short", 2, 5.0, 0.5), tables.row("exits", 2, 5.0, 0.5)]
    exits = DataFrame([{"trial_id": rows[2]["trial_id"], "step": k, "units_json": '{"exit-3": 40}'} for k in range(2)])
    steps = pd.concat([
        steps_of(rows[0]["trial_id"], [0.25, 0.5, 1.0, 1.0]), steps_of(rows[1]["trial_id"], [0.5, 1.0]), exits,
    ])  # fmt: skip
    figure = draw_widths_by_step(trials(*rows), steps)
    assert figure is not None
    assert len(figure.axes[0].get_yticklabels()) == 2
    assert [text.get_text() for text in figure.axes[0].texts] == ["0.5", "1", "0.25", "0.5", "1", "1"]


def trained(network: str, like: str, seconds: float, fid: float, **changes: object) -> dict:
    row = tables.row("ddim", 10, fid, 1.0, network=network, network_like=like, prepare_seconds=seconds, **changes)
    return {**row, "trial_id": tables.trial_id(network, str(changes))}


def test_training_budgets_make_a_line_per_network() -> None:
    rows = [
        trained("unet", "unet", 60.0, 5.0), trained("unet-short", "unet", 15.0, 9.0),
        trained("cunet", "cunet", 120.0, 5.5), trained("cunet-short", "cunet", 30.0, 7.0),
        trained("other", "other", 10.0, 3.0), trained("unet", "unet", 70.0, 1.0, denoiser="early-exit"),
    ]  # fmt: skip
    figure = draw_quality_by_training(trials(*rows), {})
    assert figure is not None
    lines = {line.get_label(): line for line in figure.axes[0].containers}
    drawn = {name: [tuple(p) for p in container.lines[0].get_xydata()] for name, container in lines.items()}
    assert drawn == {"unet": [(15, 9), (60, 5)], "cunet": [(30, 7), (120, 5.5)]}


def test_one_budget_each_is_no_curve() -> None:
    assert (
        draw_quality_by_training(trials(trained("unet", "unet", 60.0, 5.0), trained("cunet", "cunet", 60.0, 5.0)), {})
        is None
    )
