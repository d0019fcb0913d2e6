"""The interactive chart: points are the table's figures, axes are readable, labels tell points apart."""

from __future__ import annotations

import json
import math

import pytest
import vl_convert
from hypothesis import given
from hypothesis import strategies as some
from kit import tables
from pandas import DataFrame

from harness.report.analysis.derive import Analysis, derive
from harness.report.web.chart import Chart, label_points, make_chart
from harness.report.web.chart_rows import BASELINE, COSTS, QUALITIES, axis_domain, chart_points, log_ticks
from harness.report.web.page_rows import page_rows


@pytest.fixture(scope="module")
def analysis() -> Analysis:
    return derive(tables.tables())


def rows_of(analysis: Analysis) -> DataFrame:
    names = page_rows(analysis)["page_name"]
    rows = analysis.classes[0].rows
    return rows.assign(page_name=[names[one] for one in rows["trial_id"]])


@pytest.fixture(scope="module")
def chart(analysis: Analysis) -> Chart:
    found = make_chart(rows_of(analysis), analysis.families)
    assert found is not None
    return found


@given(low=some.floats(1e-6, 1e6), factor=some.floats(1.2, 1e6))
def test_ticks_are_few_round_and_inside(low: float, factor: float) -> None:
    ticks = log_ticks(low, low * factor)
    assert all(low <= tick <= low * factor for tick in ticks)
    assert ticks == sorted(set(ticks))
    assert len(ticks) <= 9
    assert len(ticks) >= (2 if factor > 2 else 0)
    assert all(len(f"{tick:.6e}".split("e")[0].rstrip("0").rstrip(".")) <= 3 for tick in ticks)  # at most two digits


def test_points_are_the_rows(analysis: Analysis) -> None:
    rows = rows_of(analysis)
    for point, (_, row) in zip(chart_points(rows), rows.iterrows(), strict=True):
        assert point["name"] == row["page_name"]
        assert point["fid"] == pytest.approx(row["fid"], rel=1e-4)
        assert point["time"] == pytest.approx(1e3 * row["pooled_seconds_per_image"], rel=1e-4)
        assert point["flops"] == pytest.approx(row["flops_per_image"] / 1e9, rel=1e-4)
        assert point["time_low"] <= point["time"] <= point["time_high"]
        assert point["hue"] == (BASELINE if row["is_baseline"] else row["family"])
        assert any(text.startswith("FID ") for text in point["facts"])
        assert "error" not in point  # not measured


def test_what_a_log_axis_cannot_show_is_left_out() -> None:
    rows = [
        tables.row("ddim", 5, 9.0, 1.0, is_baseline=True),
        tables.row("none", 5, 9.0, 1.0) | {"nfe": 0.0, "flops_per_image": 0.0},
        tables.row("exact", 5, 0.0, 1.0),
        tables.row("wide", 5, 2.0, 1.0) | {"fid_low": -1.0},
    ]
    points = {one["line"].split(":")[1]: one for one in chart_points(rows_of(derive({"trials": DataFrame(rows)})))}
    assert "nfe" not in points["none"]
    assert "flops" not in points["none"]
    assert "fid" not in points["exact"]
    assert 0 < points["wide"]["fid_low"] < 0.01
    assert all(math.isfinite(value) for one in points.values() for value in one.values() if isinstance(value, float))


def test_no_point_beats_one_of_the_front(analysis: Analysis) -> None:
    points = chart_points(rows_of(analysis))
    front = [one for one in points if one.get("front_time_fid")]
    assert 1 < len(front) < len(points)
    for one in front:
        assert not [o for o in points if o["time"] < one["time"] and o["fid"] < one["fid"]]


def test_nothing_to_draw_gives_no_chart() -> None:
    found = derive({"trials": tables.trials().assign(fid=None)})
    assert make_chart(rows_of(found), found.families) is None
    untimed = derive({"trials": tables.trials().assign(speedup=None, latency_seconds=None)})
    shown = make_chart(rows_of(untimed), untimed.families)
    assert shown is not None
    assert "time" not in dict(shown.costs)


def test_one_row_has_a_chart() -> None:
    one = derive({"trials": DataFrame([tables.row("ddim", 20, 9.0, 1.0)])})
    shown = make_chart(rows_of(one), one.families)
    assert shown is not None
    low, high = axis_domain(shown.data["points"], "fid")
    assert low < 9.0 < high


def test_every_pair_of_axes_is_a_valid_chart_that_draws_every_point(chart: Chart) -> None:
    assert set(chart.data["specs"]) == {f"{cost.key} fid" for cost in COSTS}
    spec = json.loads(json.dumps(chart.data["specs"]["time fid"]))
    spec |= {"datasets": {"points": chart.data["points"], "labels": []}, "width": 600}
    drawn = vl_convert.vegalite_to_svg(spec)
    circles = drawn.count('aria-roledescription="point"')
    assert circles == len(chart.data["points"])


def test_labels_are_the_points_that_matter_and_differ(analysis: Analysis) -> None:
    rows = rows_of(analysis)
    labels = label_points(rows, COSTS[0], QUALITIES[0])
    names = [name for name, _ in labels]
    families = rows.set_index("page_name")["family"]
    others = rows.loc[~rows["is_baseline"], "family"]
    assert {families[name] for name in names} == set(others)
    assert len({text for _, text in labels}) == len(labels) <= 12
    baseline = rows[rows["is_baseline"]].sort_values("pooled_seconds_per_image")["page_name"].tolist()
    assert {baseline[0], baseline[-1]} <= set(names)


def test_a_network_is_named_where_it_is_not_the_baselines() -> None:
    rows = [tables.row("ddim", n, 9.0 / n, float(n), is_baseline=True) for n in (1, 2)]
    rows.append(tables.row("ddim", 1, 2.0, 0.5, network="other", schedule="karras", trial_id="o"))
    texts = dict(label_points(rows_of(derive({"trials": DataFrame(rows)})), COSTS[0], QUALITIES[0]))
    assert set(texts.values()) == {"ddim-1", "ddim-2", "other:ddim-1"}


def test_colors_are_those_of_all_families(chart: Chart, analysis: Analysis) -> None:
    assert chart.hues[0][0] == BASELINE
    assert chart.data["colors"]["light"] == [light for _, light, _ in chart.hues]
    for colors in chart.data["colors"].values():
        assert len(set(colors)) == len(colors)
    assert [name for name, *_ in chart.hues[1:]] == [name for name in analysis.families if name in
                                                   {point["hue"] for point in chart.data["points"]}]  # fmt: skip


def test_the_table_beside_it_has_every_point(chart: Chart) -> None:
    assert [name for name, *_ in chart.table] == [point["name"] for point in chart.data["points"]]
    assert all("FID " in facts and "GFLOPs an image" in facts for *_, facts in chart.table)


def test_without_the_libraries_of_the_chart_the_page_has_none(
    analysis: Analysis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.report.web.chart.find_spec", lambda name: None if name == "vl_convert" else name)
    assert make_chart(rows_of(analysis), analysis.families) is None
