"""Which figures are drawn, and that labels lie apart."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import pytest
from kit import tables
from pandas import DataFrame

from harness.report.analysis.derive import Analysis, derive
from harness.report.analysis.limits import network_limits
from harness.report.figures import draw as figures
from harness.report.figures.plot_style import COLORS, GREY, INK, MOST_SERIES, OTHERS, assign_looks, report_style
from harness.report.figures.quality_figures import draw_fid_flops, draw_schedules
from harness.report.figures.share_figure import draw_network_share


def few(table: DataFrame) -> DataFrame:
    return table[table["method"].isin(["ddim", "unipc", "ddim karras"])]


@pytest.fixture(scope="module")
def analysis() -> Analysis:
    return derive(tables.tables(few))


def test_each_figure_that_has_data_is_drawn_as_png_and_svg(analysis: Analysis, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = {name: figures.DRAWERS[name] for name in ("schedules", "fid-nfe")}
    monkeypatch.setattr(figures, "DRAWERS", chosen)
    files = figures.draw_all(analysis)
    assert set(files) == {"schedules.png", "schedules.svg", "fid-nfe.png", "fid-nfe.svg"}
    assert files["fid-nfe.png"].startswith(b"\x89PNG")
    assert files["fid-nfe.svg"].startswith(b"<?xml")


def test_one_schedule_is_no_comparison() -> None:
    one = derive(tables.tables(lambda table: table[table["method"].isin(["ddim", "unipc"])])).classes[0]
    assert draw_schedules(one, {}) is None


def test_without_times_only_the_figures_of_quality_and_work_remain() -> None:
    timeless = derive({"trials": few(tables.trials()).assign(speedup=None)})
    with report_style():
        assert [name for name, draw in figures.DRAWERS.items() if draw(timeless.classes[0], timeless) is not None] == [
            "fid-flops", "fid-nfe", "schedules",
        ]  # fmt: skip


def test_a_class_without_rows_has_no_figure(analysis: Analysis) -> None:
    nothing = replace(analysis.classes[0], rows=analysis.classes[0].rows.iloc[:0])
    with report_style():
        assert [name for name, draw in figures.DRAWERS.items() if draw(nothing, analysis) is not None] == []


def test_labels_of_the_front_do_not_overlap() -> None:
    one = derive(tables.tables()).classes[0]
    with report_style():
        figure = draw_fid_flops(one, network_limits(one.rows))
        assert figure is not None
        figure.draw_without_rendering()
        boxes = [label.get_window_extent() for label in figure.axes[0].texts]
    assert len(boxes) >= 5
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))


def test_of_thirty_methods_eight_look_different_and_the_others_are_grey() -> None:
    rows = DataFrame({"series": [f"m{i:02}" for i in range(30)], "is_baseline": [i == 9 for i in range(30)]})
    looks = assign_looks(rows, ["m21", "m20"])
    assert looks["m09"].color == INK
    assert looks["m21"] != GREY != looks["m20"]
    assert sum(look == GREY for look in looks.values()) == 22
    assert len({(look.color, look.marker) for look in looks.values() if look != GREY}) == MOST_SERIES == 8
    assert len(set(COLORS)) == len(COLORS)
    assert {look.legend_name("one of many") for look in looks.values() if look == GREY} == {OTHERS}


def test_the_share_of_the_network_is_drawn_for_rows_that_leave_a_part_out(analysis: Analysis) -> None:
    whole = derive(tables.tables())
    one = whole.classes[0]
    partial = one.rows[one.rows["denoiser"] != "full"]
    with report_style():
        figure = draw_network_share(one.rows, whole.tables["steps"])
        assert figure is not None
        lines = figure.axes[0].get_lines()
        assert len(lines) == len(partial) > 1
        assert figure.axes[0].get_ylim() == (0.0, 1.0)
        names = [str(line.get_label()) for line in lines]
        assert sorted(names) == sorted(
            f"unet-small:{row['method']}-{row['steps']:.0f}" for _, row in partial.iterrows()
        )
        drawn = {tuple(line.get_ydata()) for line in lines}
        drawn_trials = whole.tables["steps"]["trial_id"].isin(partial["trial_id"])
        for trial_id, steps in whole.tables["steps"][drawn_trials].groupby("trial_id"):
            assert tuple(steps["network_share"]) in {d[::-1] for d in drawn} | drawn, trial_id
        assert draw_network_share(analysis.classes[0].rows, analysis.tables["steps"]) is None
