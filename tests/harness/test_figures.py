"""Which figures are drawn, and that labels lie apart."""

from __future__ import annotations

from itertools import combinations

import pytest
import tables
from pandas import DataFrame

from harness.report import figures
from harness.report.analysis import derive
from harness.report.plot_style import COLORS, looks, style


def few(table: DataFrame) -> DataFrame:
    return table[table["method"].isin(["ddim", "unipc", "ddim karras"])]


@pytest.fixture(scope="module")
def analysis() -> object:
    return derive(tables.tables(few))


def test_each_figure_that_has_data_is_drawn_as_png_and_svg(analysis: object, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = {name: figures._DRAWERS[name] for name in ("schedules", "fid-nfe")}
    monkeypatch.setattr(figures, "_DRAWERS", chosen)
    files = figures.draw_all(analysis)  # type: ignore[arg-type]
    assert set(files) == {"schedules.png", "schedules.svg", "fid-nfe.png", "fid-nfe.svg"}
    assert files["fid-nfe.png"].startswith(b"\x89PNG")
    assert files["fid-nfe.svg"].startswith(b"<?xml")


def test_one_schedule_is_no_comparison() -> None:
    one = derive(tables.tables(lambda table: table[table["method"].isin(["ddim", "unipc"])])).classes[0]
    assert figures.schedules(one) is None


def test_without_times_only_the_figures_of_quality_and_work_remain() -> None:
    one = derive({"trials": few(tables.trials()).assign(speedup=None)}).classes[0]
    with style():
        assert [name for name, draw in figures._DRAWERS.items() if draw(one) is not None] == [
            "fid-flops", "fid-nfe", "schedules",
        ]  # fmt: skip


def test_labels_of_the_front_do_not_overlap() -> None:
    one = derive(tables.tables()).classes[0]
    with style():
        figure = figures.fid_flops(one)
        assert figure is not None
        figure.draw_without_rendering()
        boxes = [label.get_window_extent() for label in figure.axes[0].texts]
    assert len(boxes) >= 5
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))


def test_thirty_methods_all_look_different() -> None:
    rows = DataFrame({"series": [f"m{i:02}" for i in range(30)], "is_baseline": False})
    assert len({(look.color, look.marker) for look in looks(rows).values()}) == 30
    assert len(set(COLORS)) == len(COLORS)
