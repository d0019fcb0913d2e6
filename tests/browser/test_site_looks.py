"""A site's pages at 1400 and 420 pixels: nothing is cut off, every text stands out, all is reached by the keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kit import tables as synthetic
from kit.looks_kit import CONTRAST, CUT
from kit.site_kit import few_rows, few_tables

from harness.report.site.groups import SiteGroup, SiteSource
from harness.report.site.pages import site_files

pytestmark = pytest.mark.browser

PAGES = {
    "front": "index.html",
    "submit": "submit.html",
    "board": "boards/digits/index.html",
    "network": "boards/digits/unet-small.html",
    "row": f"rows/quick/{synthetic.trial_id('unipc', 5)}.html",
    "invalid": f"rows/quick/{synthetic.trial_id('bad', 5)}.html",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    rows = few_rows()
    rows.loc[1, "method"] = "early-exit(schedule=steep,reverse=true,rule=mean-depth)/dpmpp-2m@few-step(rounds=2)"
    group = SiteGroup("quick", few_tables(rows), sources=dict.fromkeys(rows["trial_id"], "somebody/quick"))
    sources = (SiteSource("somebody/quick", ("quick",), 6), SiteSource("other", reason=f"trials/{'a' * 64}: altered"))
    for name, data in site_files((group,), sources).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


@pytest.fixture(params=[1400, 420])
def page(request: pytest.FixtureRequest, browser: Any) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": request.param, "height": 900})
    yield context.new_page()
    context.close()


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_cut_off_and_every_text_stands_out(page: Any, site: Path, name: str, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)
    page.goto((site / PAGES[name]).as_uri())
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    width = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert width[0] == width[1]
    assert page.evaluate(CUT) == []
    assert page.evaluate(CONTRAST) == []


def test_boxes_that_scroll_are_reached_by_the_keyboard(page: Any, site: Path) -> None:
    page.goto((site / PAGES["board"]).as_uri())
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    found = page.evaluate(
        "[...document.querySelectorAll('.scroll')].map((one) => [one.tabIndex, !!one.getAttribute('aria-label')])"
    )
    assert found
    assert all(one == [0, True] for one in found)
