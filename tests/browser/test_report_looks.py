"""Nothing is cut off at 1400 and 420 pixels, rows become cards, and every text stands out from its ground."""

from __future__ import annotations

from typing import Any

import pytest
from kit.looks_kit import CONTRAST, CUT

pytestmark = pytest.mark.browser

CLIENT = "() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]"


def unfold_all(page: Any) -> None:
    """Show every trial, the details of some, and every folded part."""
    page.click("#show-all")
    for toggle in page.locator("tr.trial .toggle").all()[:3]:
        toggle.click()
    page.evaluate("() => document.querySelectorAll('details:not(.menu)').forEach((one) => { one.open = true; })")


@pytest.mark.parametrize("name", ["quick", "made"])
@pytest.mark.parametrize("width", [1400, 420])
@pytest.mark.parametrize("unfolded", [False, True])
def test_nothing_is_cut_off(open_report: Any, name: str, width: int, unfolded: bool) -> None:
    page = open_report(name, width)
    if unfolded:
        unfold_all(page)
    scroll, client = page.evaluate(CLIENT)
    assert scroll <= client
    assert page.evaluate(CUT) == []
    assert page.locator(".frame.scrolls").count() == 0


def test_what_is_cut_off_or_pale_would_be_found(open_report: Any) -> None:
    page = open_report()
    page.evaluate(
        "() => { const one = document.querySelector('h1'); one.style.color = '#ddd'; one.textContent = 'pale'; }"
    )
    assert [found[2] for found in page.evaluate(CONTRAST)] == ["pale"]
    page.evaluate("() => { document.querySelector('h2').style.cssText = 'width: 9rem; margin-left: 90rem'; }")
    assert page.evaluate(CUT)
    scroll, client = page.evaluate(CLIENT)
    assert scroll > client


@pytest.mark.parametrize("width", [1400, 420])
def test_no_menu_leaves_the_window(open_report: Any, width: int) -> None:
    page = open_report("quick", width)
    for menu in page.locator("#bar details.menu").all():
        menu.locator("summary").click()
        box = menu.locator(".panel").bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
        page.keyboard.press("Escape")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out(open_report: Any, scheme: str) -> None:
    page = open_report("made", 1400, scheme)
    unfold_all(page)
    page.click("#columns > summary")
    assert page.evaluate(CONTRAST) == []


def test_the_grounds_of_light_and_dark_differ(open_report: Any) -> None:
    grounds = [
        open_report("quick", 1400, scheme).evaluate("getComputedStyle(document.body).backgroundColor")
        for scheme in ("light", "dark")
    ]
    assert grounds == ["rgb(255, 255, 255)", "rgb(18, 22, 28)"]


def test_rows_become_cards_on_a_narrow_screen(open_report: Any) -> None:
    page = open_report("quick", 420)
    shown = page.evaluate(
        "() => [...document.querySelector('table.methods tr.method').cells]"
        ".filter((one) => one.checkVisibility()).map((one) => one.dataset.label)"
    )
    assert sorted(shown) == ["Badge", "FID, and at which steps", "Method", "Speed-up at equal FID"]
    assert not page.locator("table.report-table thead").first.is_visible()
    page.locator("table.methods tr.method .toggle").first.click()
    assert page.locator("tr.trial").count() > 0


def test_headings_stay_below_the_bar(open_report: Any) -> None:
    page = open_report()
    page.click("#show-all")
    page.evaluate("() => document.querySelectorAll('#methods-0 tr.trial')[12].scrollIntoView({block: 'center'})")
    bar = page.locator("#bar").bounding_box()
    heading = page.locator("#methods-0 thead th").first.bounding_box()
    assert bar["y"] == 0
    assert abs(heading["y"] - bar["height"]) <= 1


def test_print_shows_tables_without_the_bar(open_report: Any) -> None:
    page = open_report()
    page.emulate_media(media="print")
    assert not page.locator("#bar").is_visible()
    assert page.locator("table.methods").first.is_visible()


def test_a_report_stays_below_five_megabytes_and_is_ready_soon(open_report: Any, reports: dict[str, Any]) -> None:
    assert reports["quick"].stat().st_size < 5_000_000
    page = open_report()
    assert page.evaluate("performance.timing.loadEventEnd - performance.timing.navigationStart") < 8000


@pytest.mark.parametrize("width", [1400, 420])
def test_pictures_of_the_gallery_have_64_pixels_and_fit_the_window(open_report: Any, width: int) -> None:
    """Five pictures of 8 by 8 values, each value 8 pixels, with a gap of a value between them."""
    page = open_report("quick", width)
    boxes = [one.bounding_box() for one in page.locator("#gallery img").all()]
    assert len(boxes) > 4
    assert {round(box["height"]) for box in boxes} == {64}
    assert {round(box["width"]) for box in boxes} == {5 * 64 + 4 * 8}
    assert all(box["x"] + box["width"] <= width for box in boxes)
    captions = page.locator("#gallery figcaption").all_inner_texts()
    assert all(" ms " in text and "FID " in text for text in captions)
