"""The chart above the tables: it draws without evaluated code, switches axes, and speaks with the tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Open = Callable[..., Any]
pytestmark = pytest.mark.browser
DOTS = '#chart path[aria-roledescription="point"]'
LABELS = "#chart .mark-text.role-mark:last-of-type text"
READY = "document.getElementById('chart').dataset.shows"


def opened(open_report: Open, *args: Any, **options: Any) -> Any:
    """Return a page on which the chart is drawn."""
    page = open_report(*args, **options)
    page.wait_for_function(READY)
    page.wait_for_timeout(200)
    return page


@pytest.mark.parametrize(("width", "scheme"), [(1400, "light"), (1400, "dark"), (420, "light"), (420, "dark")])
def test_every_point_is_drawn_and_nothing_is_cut_off(open_report: Open, width: int, scheme: str) -> None:
    page = opened(open_report, "quick", width, scheme)
    assert page.locator(DOTS).count() == 21
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    box = page.locator("#chart").bounding_box()
    drawn = page.locator("#chart svg").bounding_box()
    assert drawn["width"] <= box["width"] + 1
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") is (scheme == "light")


@pytest.mark.parametrize("width", [1400, 420])
def test_labels_overlap_neither_each_other_nor_points(open_report: Open, width: int) -> None:
    page = opened(open_report, "quick", width)
    boxes = page.evaluate(
        """() => [...document.querySelectorAll('#chart svg text')]
        .filter((one) => /-\\d+$/.test(one.textContent))
        .map((one) => [one.textContent, one.getBoundingClientRect()])
        .map(([text, box]) => [text, box.left, box.top, box.right, box.bottom])"""
    )
    places = {name: box for name, *box in boxes}  # a halo and its text share a place
    assert len(places) >= (7 if width == 1400 else 3)
    names = list(places)
    for place, name in enumerate(names):
        left, top, right, bottom = places[name]
        for other in names[place + 1 :]:
            a, b, c, d = places[other]
            assert right <= a + 1 or left >= c - 1 or bottom <= b + 1 or top >= d - 1, (name, other)


def test_switches_change_the_axes(open_report: Open) -> None:
    page = opened(open_report, "quick")
    for key, title in (("flops", "GFLOPs per image"), ("nfe", "Network evaluations"), ("latency", "Latency of one"),
                       ("time", "Time per image")):  # fmt: skip
        page.click(f'[data-cost="{key}"]')
        page.wait_for_function(f"{READY} === '{key} fid'")
        assert title in page.locator("#chart").inner_text()
        assert page.get_attribute(f'[data-cost="{key}"]', "aria-pressed") == "true"
        assert page.locator('[data-cost][aria-pressed="true"]').count() == 1


def test_hover_shows_figures_and_samples_and_a_click_names_the_row(open_report: Open) -> None:
    page = opened(open_report, "quick")
    page.evaluate("window.asked = []; document.addEventListener('trial', (event) => window.asked.push(event.detail))")
    dot = page.locator(DOTS).first
    dot.hover()
    card = page.locator("#chart-card")
    card.wait_for(state="visible")
    assert "FID " in card.inner_text()
    assert "GFLOPs an image" in card.inner_text()
    assert card.locator("img").count() == 1
    name = card.locator("b").inner_text()
    dot.click()
    assert page.evaluate("window.asked") == [name]
    page.mouse.move(5, 5)
    card.wait_for(state="hidden")


def test_rows_that_the_tables_hide_are_greyed(open_report: Open) -> None:
    page = opened(open_report, "quick")
    faint = (
        f"[...document.querySelectorAll('{DOTS}')].filter((one) => Number(one.getAttribute('opacity')) < 0.5).length"
    )
    assert page.evaluate(faint) == 0
    page.fill("#search", "adadiff")
    page.wait_for_function(f"{faint} > 10")
    assert page.evaluate(faint) == 20
    page.fill("#search", "")
    page.wait_for_function(f"{faint} === 0")


def test_a_row_of_a_family_leads_to_the_tables(open_report: Open) -> None:
    page = opened(open_report, "quick")
    page.evaluate("window.asked = []; document.addEventListener('trial', (event) => window.asked.push(event.detail))")
    go = page.locator("[data-go]").first
    go.click()
    assert page.evaluate("window.asked") == [go.get_attribute("data-go")]


def test_hostile_names_stay_text(open_report: Open) -> None:
    page = opened(open_report, "hostile")
    assert page.locator("#chart script, #families script, #chart img").count() == 0
    assert "<script>alert(1)</script>" in page.locator("#overview details table").text_content()
