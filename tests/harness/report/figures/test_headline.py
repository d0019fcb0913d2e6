"""The headline, and the figures of time to quality and of speed-up: what is drawn equals the data."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
from kit import tables
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from pandas import DataFrame

from harness.report.analysis.derive import ResourceClass, derive
from harness.report.analysis.families import SCHEDULE, SOLVER, name_families
from harness.report.analysis.limits import LimitFid
from harness.report.figures.headline_figure import choose_target, draw_headline
from harness.report.figures.plot_style import INK, report_style
from harness.report.figures.plotted_times import add_plotted_times
from harness.report.figures.quality_marks import DISTURBED, FAINT_SHARE, class_looks, name_series
from harness.report.figures.series_looks import GREY, MOST_SERIES, assign_class_looks, family_leaders
from harness.report.figures.speedup_figure import draw_equal_quality, rows_with_speedup
from harness.report.figures.time_to_quality_figure import (
    AT_MOST,
    COLUMNS,
    NOT_REACHED,
    REACHED,
    draw_time_to_quality,
)

LIMITS = {"unet-small": LimitFid(0.7, 0.5, 0.9)}


@pytest.fixture(autouse=True)
def styled() -> Iterator[None]:
    with report_style():
        yield


@pytest.fixture(scope="module")
def one() -> ResourceClass:
    return derive(tables.tables()).classes[0]


def method(name: str, state: str, seconds: float = math.nan, **more: object) -> dict:
    """Return a row of the table that the figures of time to quality are drawn from."""
    row = {
        "method": name, "network": "unet-small", "name": name, "state": state, "seconds": seconds,
        "low": 0.9 * seconds, "high": 1.2 * seconds, "best_fid": 1.0, "rank": math.nan, "is_baseline": False,
        "is_below": False, "is_disturbed": False, "note": "",
    }  # fmt: skip
    assert set(row) == set(COLUMNS)
    return {**row, **more}


TIMES = DataFrame([
    method("heun", NOT_REACHED, best_fid=2.5), method("ddpm", NOT_REACHED, best_fid=2.2, note="in 2 of 3 trainings, "),
    method("ddim", REACHED, 0.020, rank=2.0, is_baseline=True), method("unipc", AT_MOST, 0.004, low=math.nan),
    method("dpmpp-2m", REACHED, 0.006, rank=1.0, low=math.nan),
])  # fmt: skip


def names(axes: Axes) -> list[str]:
    """Return the names of the rows from top to bottom."""
    labels = sorted(zip(axes.get_yticks(), axes.get_yticklabels(), strict=True), key=lambda one: -one[0])
    return [label.get_text() for _, label in labels]


def dots(axes: Axes) -> dict[float, tuple[float, bool]]:
    """Return the value of each dot by its height, and whether it is open."""
    lines = [line for line in axes.get_lines() if line.get_marker() not in ("None", None, "") and len(line.get_xdata())]
    return {line.get_ydata()[0]: (line.get_xdata()[0], line.get_markerfacecolor() == "white") for line in lines}


def marks(axes: Axes, opacity: float | None = None) -> set[tuple[float, float]]:
    """Return the marks of rows in a scatter, of one opacity where it is given."""
    every = [
        line for line in axes.get_lines()
        if line.get_linestyle() == "None" and line.get_markersize() < 10 and opacity in (None, line.get_alpha())
    ]  # fmt: skip
    return {(float(x), float(y)) for line in every for x, y in line.get_xydata()}


def legend(figure: Figure) -> list[str]:
    """Return the entries of all legends of a figure and its parts."""
    return [text.get_text() for found in figure.findobj(Legend) for text in found.get_texts()]


def test_the_upper_half_shows_every_row_at_its_time_per_image(one: ResourceClass) -> None:
    figure = draw_headline(one, LIMITS, {})
    assert figure is not None
    rows = add_plotted_times(one.rows)
    assert rows["image_ms"].tolist() == pytest.approx((1e3 / rows["throughput_images_per_second"]).tolist())
    assert marks(figure.axes[0]) == {(x, y) for x, y in zip(rows["image_ms"], rows["fid"], strict=True)}


def test_pooled_times_replace_those_of_the_rows_own_block(one: ResourceClass) -> None:
    values = {"": 3.0, "_low": 2.0, "_high": 4.0}
    pooled = {
        f"pooled_{what}{end}": [value] + [math.nan] * (len(one.rows) - 1)
        for what in ("seconds_per_image", "latency_seconds")
        for end, value in values.items()
    }
    found = add_plotted_times(one.rows.assign(**pooled))
    for name, column in (("image_ms", None), ("latency_ms", "latency_seconds")):
        assert [found[f"{name}{end}"].iloc[0] for end in ("", "_low", "_high")] == [3000.0, 2000.0, 4000.0]
        own = 1e3 * one.rows[column] if column else 1e3 / one.rows["throughput_images_per_second"]
        assert found[name].iloc[1:].tolist() == pytest.approx(own.iloc[1:].tolist())


def test_at_most_eight_series_have_a_color_and_each_is_named_once(one: ResourceClass) -> None:
    looks = class_looks(one)
    assert len(looks) > MOST_SERIES
    colored = {name for name, look in looks.items() if look != GREY}
    assert len(colored) == MOST_SERIES
    figure = draw_headline(one, LIMITS, {})
    assert figure is not None
    written = [text.get_text().replace("\n", "").removesuffix(" (baseline)") for text in figure.axes[0].texts]
    assert sorted(name for name in written if name in looks) == sorted(colored)
    entries = legend(figure)
    assert f"{len(looks) - MOST_SERIES} others, in the tables" in entries
    assert len(entries) == len(set(entries))


def test_colors_are_families_and_the_baseline_is_black_and_bold(one: ResourceClass) -> None:
    rows = name_series(one.rows)
    families = name_families(rows).groupby(rows["series"]).first()
    assert families[["ddim", "unipc", "ddim karras", "early-exit + dpmpp-2m"]].tolist() == [
        SOLVER, SOLVER, SCHEDULE, "early-exit",
    ]  # fmt: skip
    looks = assign_class_looks(rows)
    assert looks["ddim"].color == INK
    colored = {name: look for name, look in looks.items() if look not in (GREY, looks["ddim"])}
    by_family: dict[str, set[str]] = {}
    for name, look in colored.items():
        assert look.width < looks["ddim"].width
        by_family.setdefault(families[name], set()).add(look.color)
    assert {"early-exit", SOLVER, SCHEDULE} <= set(by_family)
    assert all(len(colors) == 1 for colors in by_family.values())
    assert len(set.union(*by_family.values())) == len(by_family)
    assert len({(look.color, look.marker) for look in colored.values()}) == len(colored)


def test_a_control_does_not_stand_for_its_family() -> None:
    rows = DataFrame([
        tables.row("exit", 5, 3.0, 0.5, denoiser="exit"),
        tables.row("exit-control", 5, 2.0, 0.5, denoiser="exit", control_of_trial_id="some"),
        *(tables.row(f"s{k}", 5, 1.0, 0.1, solver=f"s{k}") for k in range(9)),
    ]).assign(relative_time=0.5)  # fmt: skip
    assert family_leaders(name_series(rows))["exit"] == "exit"
    assert assign_class_looks(name_series(rows))["exit"] != GREY


def test_without_targets_the_lower_half_is_fid_at_the_step_count_that_most_share(one: ResourceClass) -> None:
    figure = draw_headline(one, LIMITS, {})
    assert figure is not None
    right = figure.axes[1]
    here = one.rows[(one.rows["steps"] == 5) & (one.rows["executor"] == "serial")].sort_values("fid")
    assert right.get_title(loc="left") == "FID with 5 steps"
    assert names(right) == here["method"].tolist()
    assert [value for _, (value, _) in sorted(dots(right).items(), reverse=True)] == here["fid"].tolist()


def test_the_lower_half_ranks_times_to_the_middle_target_and_bounds_are_open(one: ResourceClass) -> None:
    figure = draw_headline(one, LIMITS, {2.9: TIMES.iloc[:1], 1.8: TIMES, 1.6: TIMES.iloc[:2]})
    assert figure is not None
    right = figure.axes[1]
    assert right.get_title(loc="left") == "Time to FID 1.8"
    assert names(right) == ["unipc", "1. dpmpp-2m", "2. ddim", "ddpm", "heun"]
    found = [value for _, value in sorted(dots(right).items(), reverse=True)]
    assert found == [(4.0, True), (6.0, False), (20.0, False)]
    written = [text.get_text() for text in right.texts]
    assert {"≤ 4.00 ms", "6.00 ms", "in 2 of 3 trainings, best FID 2.20", "best FID 2.50", "not reached"} <= set(
        written
    )
    assert "open mark: ≤" in figure.get_supxlabel()
    assert "arrow" in figure.get_supxlabel()


def test_the_interval_is_drawn_to_its_ends_and_an_open_end_is_an_arrow(one: ResourceClass) -> None:
    figure = draw_time_to_quality(one, {1.8: TIMES})
    assert figure is not None
    (axes,) = figure.axes
    spans = {line.get_ydata()[0]: tuple(line.get_xdata()) for line in axes.get_lines() if line.get_linewidth() == 2.0}
    found = [spans[place] for place in sorted(spans, reverse=True)]
    assert found == [pytest.approx((4.0, 4.8)), pytest.approx((6.0, 7.2)), pytest.approx((18.0, 24.0))]
    arrows = [text for text in axes.texts if getattr(text, "arrow_patch", None) is not None]
    assert [text.xy[0] for text in arrows] == [6.0]


def test_each_target_has_a_panel_and_none_no_figure(one: ResourceClass) -> None:
    figure = draw_time_to_quality(one, {2.9: TIMES, 1.8: TIMES.iloc[2:], 1.6: TIMES.iloc[:2]})
    assert figure is not None
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["FID 2.9", "FID 1.8"]
    assert figure.get_suptitle() == "Which method reaches a FID soonest?"
    assert draw_time_to_quality(one, {}) is None
    assert draw_time_to_quality(one, {1.6: TIMES.iloc[:2]}) is None
    assert draw_time_to_quality(one, {1.6: TIMES.iloc[:0]}) is None


def test_the_headline_takes_the_middle_target_or_the_next_looser_one_that_is_reached() -> None:
    nothing = TIMES.iloc[:2]
    assert choose_target({2.9: TIMES, 1.8: TIMES, 1.6: TIMES}) == 1.8
    assert choose_target({2.9: TIMES, 1.8: nothing, 1.6: nothing}) == 2.9
    assert choose_target({2.9: nothing, 1.8: nothing, 1.6: nothing}) is None
    assert choose_target({}) is None


def test_of_many_methods_the_fastest_and_the_baseline_are_shown(one: ResourceClass) -> None:
    many = DataFrame([
        *(method(f"m{k:02}", REACHED, 0.01 + 0.001 * k, rank=k + 1.0) for k in range(20)),
        method("ddim", REACHED, 0.5, rank=21.0, is_baseline=True),
        *(method(f"n{k}", NOT_REACHED, best_fid=9.0 - k) for k in range(9)),
    ])  # fmt: skip
    figure = draw_time_to_quality(one, {1.8: many})
    assert figure is not None
    assert names(figure.axes[0]) == [
        *(f"{k + 1}. m{k:02}" for k in range(12)), "21. ddim", "n8", "n7", "n6", "n5", "n4", "n3",
    ]  # fmt: skip
    assert "11 more at FID 1.8, in the tables" in figure.get_supxlabel().replace("\n", " ")


def test_parallel_executors_stand_above_alone() -> None:
    def change(table: DataFrame) -> DataFrame:
        return table.assign(devices=1)

    one = derive(tables.tables(change)).classes[0]
    assert "parallel in time" in set(name_families(one.rows))
    figure = draw_headline(one, LIMITS, {})
    assert figure is not None
    parallel = one.rows[one.rows["executor"] != "serial"].iloc[0]
    assert parallel["fid"] in {y for _, y in marks(figure.axes[0])}
    assert parallel["method"] not in names(figure.axes[1])
    assert "parallel executors" in figure.get_supxlabel()
    assert parallel["method"] not in set(rows_with_speedup(one, LIMITS)["method"])


def test_disturbed_rows_are_faint_and_the_legend_says_so(one: ResourceClass) -> None:
    place = 3
    disturbed = one.rows.assign(disturbed=["had 61 % of its core" if k == place else "" for k in range(len(one.rows))])
    figure = draw_headline(ResourceClass(one.key, disturbed, one.floor, one.clock, one.baseline), LIMITS, {})
    assert figure is not None
    row = add_plotted_times(disturbed).iloc[place]
    assert marks(figure.axes[0], FAINT_SHARE) == {(row["image_ms"], row["fid"])}
    assert DISTURBED in legend(figure)
    calm = draw_headline(one, LIMITS, {})
    assert calm is not None
    assert DISTURBED not in legend(calm)


def test_the_front_is_that_of_likely_rows_where_the_probability_is_known(one: ResourceClass) -> None:
    likely = np.zeros(len(one.rows))
    likely[[2, 5, 7]] = 0.5, 0.9, 1.0
    rows = one.rows.assign(pareto_time_probability=likely)
    figure = draw_headline(ResourceClass(one.key, rows, one.floor, one.clock, one.baseline), LIMITS, {})
    assert figure is not None
    (front,) = [line for line in figure.axes[0].get_lines() if line.get_drawstyle() == "steps-post"]
    wanted = add_plotted_times(rows).iloc[[2, 5, 7]]
    assert {tuple(p) for p in front.get_xydata()} == {
        (x, y) for x, y in zip(wanted["image_ms"], wanted["fid"], strict=True)
    }
    assert any("probability" in text for text in legend(figure))


def test_no_bound_leads_the_speed_ups(one: ResourceClass) -> None:
    rows = rows_with_speedup(one, LIMITS)
    values, bounds = rows[~rows["is_bound"]], rows[rows["is_bound"]]
    assert min(len(values), len(bounds)) > 1
    assert bounds["lead"].max() > values["lead"].min()
    figure = draw_equal_quality(one, LIMITS)
    assert figure is not None
    (axes,) = figure.axes
    drawn = [name.replace("\n", "") for name in names(axes)]
    best = rows.drop_duplicates("series")
    assert drawn == [*best.loc[~best["is_bound"], "name"], *best.loc[best["is_bound"], "name"]]
    assert len(drawn) == rows["series"].nunique()
    assert drawn[0] == f"unet-small:{values['method'].iloc[0]}-{values['steps'].iloc[0]:.0f}"
    assert len(set(rows["name"])) == len(rows)
    found = [value for _, value in sorted(dots(axes).items(), reverse=True)]
    assert found == [
        *((v, is_bound) for v, is_bound in best.sort_values("is_bound", kind="stable")[["lead", "is_bound"]].to_numpy())
    ]
    assert axes.get_title(loc="left").endswith("?")
