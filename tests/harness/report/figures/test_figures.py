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
from harness.report.figures.plot_style import INK, report_style
from harness.report.figures.quality_figures import draw_fid_flops, draw_schedules
from harness.report.figures.series_looks import GREY, MOST_OF_FAMILY, MOST_SERIES, OTHERS_NAME, assign_looks
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
        drawn = {name: draw(timeless.classes[0], timeless, {}) for name, draw in figures.DRAWERS.items()}
    assert [name for name, figure in drawn.items() if figure is not None] == ["fid-flops", "fid-nfe", "schedules"]


def test_a_class_without_rows_has_no_figure(analysis: Analysis) -> None:
    nothing = replace(analysis.classes[0], rows=analysis.classes[0].rows.iloc[:0])
    with report_style():
        assert [name for name, draw in figures.DRAWERS.items() if draw(nothing, analysis, {}) is not None] == []


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
    rows = rows.assign(family_color=[("#111111", "#222222", "#333333")[i % 3] for i in range(30)])
    looks = assign_looks(rows, ["m21", "m20"])
    assert looks["m09"].color == INK
    assert looks["m21"] != GREY != looks["m20"]
    assert sum(look == GREY for look in looks.values()) == 22
    assert len({(look.color, look.marker) for look in looks.values() if look != GREY}) == MOST_SERIES == 8
    assert {look.legend_name("one of many") for look in looks.values() if look == GREY} == {OTHERS_NAME}


def test_of_one_family_four_have_its_color_unless_a_figure_is_of_that_family() -> None:
    rows = DataFrame({"series": [f"m{i:02}" for i in range(30)], "is_baseline": False, "family_color": "#111111"})
    assert sum(look != GREY for look in assign_looks(rows).values()) == MOST_OF_FAMILY == 4
    looks = assign_looks(rows, most_of_family=MOST_SERIES)
    assert len({look.marker for look in looks.values() if look != GREY}) == MOST_SERIES


def test_a_variant_keeps_its_marker_on_another_network() -> None:
    rows = DataFrame(
        {"series": ["unet:heun", "unet:ddim"], "is_baseline": False, "family_color": ["#111111", "#222222"]}
    )
    other = rows.assign(series=["uvit:heun", "uvit:ddim"])
    one, two = assign_looks(rows), assign_looks(other)
    assert [look.marker for look in one.values()] == [look.marker for look in two.values()]


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
