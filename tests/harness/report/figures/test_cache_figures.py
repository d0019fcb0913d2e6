"""Figures of caches: which calls were skipped, and how near images stay for how much arithmetic."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from kit import tables
from kit.all_figures_kit import FACTS, all_tables, row
from matplotlib.figure import Figure
from pandas import DataFrame

from harness.report.analysis.derive import Analysis, derive
from harness.report.figures.draw import DRAWERS
from harness.report.figures.fidelity_figure import draw_fidelity_flops
from harness.report.figures.plot_style import report_style
from harness.report.figures.skipped_figure import draw_skipped_calls
from harness.report.figures.step_map import MOST_ROWS


@pytest.fixture(scope="module")
def analysis() -> Analysis:
    return derive(all_tables(), FACTS)


def steps_of(units: list[dict[str, int]], shares: list[float] | None = None) -> tuple[DataFrame, DataFrame]:
    """Return one row and its steps with these units."""
    rows = DataFrame([row("cached", len(units), 4.0, 0.3, denoiser="cache")])
    found = tables.steps(rows).assign(units_json=[json.dumps(one) for one in units])
    return rows, found if shares is None else found.assign(network_share=shares)


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts if text.get_text()]


def drawn(rows: DataFrame, steps: DataFrame) -> Figure | None:
    with report_style():
        return draw_skipped_calls(rows, steps)


def test_a_map_shows_the_per_cent_of_calls_that_were_cached() -> None:
    found = drawn(*steps_of([{"full": 40}, {"full": 10, "cached": 30}, {"cached": 40}]))
    assert found is not None
    assert texts(found) == ["0", "75", "100"]


@pytest.mark.parametrize(("count", "numbers"), [(3, ["1", "2", "3"]), (36, ["5", "10", "15", "20", "25", "30", "35"])])
def test_steps_are_numbered(count: int, numbers: list[str]) -> None:
    found = drawn(*steps_of([{"full": 3}] + [{"cached": 3}] * (count - 1)))
    assert found is not None
    assert [label.get_text() for label in found.axes[0].get_xticklabels()] == numbers
    assert list(found.axes[0].get_xticks()) == [int(number) - 0.5 for number in numbers]


def test_a_call_of_some_branches_counts_by_what_it_left_out() -> None:
    found = drawn(*steps_of([{"full": 4}, {"mask-1": 4}, {"cached": 4}], [1.0, 0.6, 0.1]))
    assert found is not None
    assert texts(found)[:2] == ["0", "40"]


@pytest.mark.parametrize("units", [{"full": 4}, {"width-0.5": 4}, {"cached": 2, "width-0.5": 2}, {}])
def test_without_a_cache_there_is_no_map(units: dict[str, int]) -> None:
    assert drawn(*steps_of([{"full": 4}, units])) is None


def test_of_many_caches_those_of_the_usual_step_count_come_first() -> None:
    rows = [row(f"cache {k}", 6, 4.0, 0.3, denoiser="cache") for k in range(MOST_ROWS)]
    table = DataFrame([*rows, row("a longer one", 9, 4.0, 0.3, denoiser="cache")])
    steps = tables.steps(table).assign(units_json='{"cached": 3, "full": 1}')
    found = drawn(table, steps)
    assert found is not None
    names = [label.get_text() for label in found.axes[0].get_yticklabels()]
    assert len(names) == MOST_ROWS
    assert not any("longer" in name for name in names)
    assert "1 more rows in the tables" in found.get_supxlabel().replace("\n", " ")


def test_fidelity_is_drawn_by_setting_with_the_parameters_that_differ(analysis: Analysis) -> None:
    with report_style():
        figure = draw_fidelity_flops(analysis.classes[0].rows)
    assert figure is not None
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["unet-small: ddim@uniform, 8 steps", "unet-small: ddim@uniform, 12 steps"]
    written = {text.get_text() for text in figure.axes[0].texts}
    assert written & {"interval 2, order 0", "interval 5, order 1"}
    points = figure.axes[0].get_lines()[-1].get_xydata()
    assert np.allclose(sorted({y for _, y in points}), [20, 21, 28, 29, 32, 33])


@pytest.mark.parametrize("changes", [{"psnr": None}, {"flops_per_image": None}])
def test_rows_that_were_not_compared_or_counted_are_not_drawn(changes: dict[str, Any]) -> None:
    given = {"psnr": 30.0, "psnr_low": 29.0, "psnr_high": 31.0, **changes}
    rows = DataFrame([row(f"cache {k}", 8, 4.0, 0.3, denoiser="cache", **given) for k in range(3)])
    with report_style():
        assert draw_fidelity_flops(derive({"trials": rows}).classes[0].rows) is None


def test_suites_without_caches_have_neither_figure() -> None:
    plain = derive(tables.tables())
    with report_style():
        for name in ("skipped-calls", "fidelity-flops", "effects"):
            assert DRAWERS[name](plain.classes[0], plain, {}) is None
