"""No text of any figure lies outside it, and labels do not cover each other, with long names on several networks."""

from __future__ import annotations

from itertools import combinations

import pytest
from kit import tables
from matplotlib.figure import Figure
from matplotlib.text import Text
from pandas import DataFrame, concat

from harness.report.analysis.derive import Analysis, derive
from harness.report.analysis.limits import network_limits
from harness.report.figures import draw as figures
from harness.report.figures.margin_labels import break_name
from harness.report.figures.plot_style import add_note, add_question, fix_layout, new_figure, report_style
from harness.report.figures.quality_figures import draw_fid_nfe

LONG = "early-exit(reverse=True,schedule=steep,tune_steps=0)/dpmpp-2m@few-step(objective=data)"


def widened(table: DataFrame) -> DataFrame:
    """Return the rows on two networks, one method with a long name, every network with its limit."""
    long = table.assign(method=table["method"].replace("early-exit + dpmpp-2m", LONG))
    other = long[~long["is_baseline"]].assign(network="a-network-with-a-long-name-16")
    other = other.assign(trial_id=[tables.trial_id("other", one) for one in other["trial_id"]])
    both = concat([long, other], ignore_index=True)
    fids = [1.4 if network == "unet-small" else 1.45 for network in both["network"]]
    return both.assign(
        network_limit_fid=fids, network_limit_fid_low=[fid - 0.2 for fid in fids],
        network_limit_fid_high=[fid + 0.2 for fid in fids],
    )  # fmt: skip


@pytest.fixture(scope="module")
def analysis() -> Analysis:
    return derive(tables.tables(widened))


def outside(figure: Figure) -> list[str]:
    """Return the visible texts that do not lie inside the figure."""
    fix_layout(figure)
    figure.draw_without_rendering()
    room = figure.bbox
    every = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    boxes = [(text.get_text(), text.get_window_extent()) for text in every]
    return [
        text for text, box in boxes
        if box.width and (box.x0 < room.x0 - 1 or box.x1 > room.x1 + 1 or box.y0 < room.y0 - 1 or box.y1 > room.y1 + 1)
    ]  # fmt: skip


def unused_ticks(figure: Figure) -> set[str]:
    """Return the texts of ticks beyond the limits of their axis, which are not drawn."""
    hidden = set()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            shown = {tick.label1.get_text() for tick in axis._update_ticks()}  # type: ignore[attr-defined]
            hidden |= {tick.label1.get_text() for tick in axis.get_major_ticks()} - shown
    return hidden


@pytest.mark.parametrize("name", sorted(figures.DRAWERS))
def test_no_text_lies_outside_its_figure(analysis: Analysis, name: str) -> None:
    with report_style():
        figure = figures.DRAWERS[name](analysis.classes[0], analysis, {})
        if figure is None:
            assert name not in ("headline", "fid-time", "fid-flops", "fid-nfe", "equal-quality", "schedules")
            return
        assert set(outside(figure)) <= unused_ticks(figure)


def test_names_of_series_cover_no_other_name(analysis: Analysis) -> None:
    with report_style():
        figure = draw_fid_nfe(analysis.classes[0], network_limits(analysis.classes[0].rows))
        assert figure is not None
        figure.draw_without_rendering()
        boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert len(boxes) >= 8 + 2
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))


def test_a_title_that_is_too_long_goes_on_in_another_line() -> None:
    with report_style():
        figure, (left, right) = new_figure(5.0, 3.0, 2)
        left.set_title("A question that is longer than the half of a small figure has room for?")
        right.set_title("Short?")
        add_question(figure, "A question above both of the panels that is longer than the whole of a small figure?")
        add_note(figure, "a note that is longer than the whole of a small figure, with a few words more than fit it")
        assert outside(figure) == []
        assert "\n" in left.get_title(loc="left")
        assert right.get_title(loc="left") == "Short?"
        end = left._left_title.get_window_extent().x1  # type: ignore[attr-defined]
        assert end <= left.get_window_extent().x1 + 1


def test_a_name_is_broken_between_its_parts_only() -> None:
    assert break_name("unet:ddim", 20) == "unet:ddim"
    assert break_name("uvit-8:early-exit(a=1,b=2)/dpmpp-2m", 20) == "uvit-8:early-exit(\na=1,b=2)/dpmpp-2m"
    assert break_name(LONG, 40).replace("\n", "") == LONG
