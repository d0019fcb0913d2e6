"""Every control of report.html does what it says, by the pointer and by the keyboard."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.browser

DATA = "() => JSON.parse(document.getElementById('report-data').textContent)"
METHODS = "table.methods > tbody > tr.method"
LINES = f"""() => [...document.querySelectorAll("{METHODS}")].map((row) => row.querySelector(".toggle").textContent)"""
TRIALS = """() => [...document.querySelectorAll("tr.trial")].map((row) => row.dataset.trial)"""
CELLS = """
(id) => [...document.querySelectorAll(`#${id} > tbody > tr:not(.unfolded)`)].map((row) => [...row.cells].map(
  (cell) => cell.classList.contains("is-name") ? cell.querySelector(".toggle").textContent
    : (cell.querySelector(".value, .badge") ?? cell).textContent))
"""
FOCUSED = """
() => {
  const near = document.activeElement.closest("[data-facet], [id]");
  return near.dataset.facet ?? near.id;
}
"""


@pytest.fixture
def page(open_report: Any) -> Any:
    """Return the report of `quick`, 1400 pixels wide."""
    return open_report()


def names_with(data: dict, facet: str, value: str) -> set[str]:
    """Return the trials of the block of data that have a value of a facet."""
    place = data["facets"].index(facet)
    return {name for name, trial in data["trials"].items() if trial["facets"][place] == value}


def lines_of(data: dict, names: set[str]) -> set[str]:
    """Return the methods that have one of these trials."""
    return {line["name"] for table in data["tables"] for line in table["rows"] if names & set(line.get("trials", ()))}


def test_the_search_leaves_what_holds_every_word(page: Any) -> None:
    page.fill("#search", "slim ddsm")
    shown = page.evaluate(LINES)
    assert shown
    assert all("slim" in name and "ddsm" in name for name in shown)
    wanted = [name for name in page.evaluate(DATA)["trials"] if "slim" in name and "ddsm" in name]
    assert page.evaluate("window.filtered.at(-1)") == wanted
    page.fill("#search", "no such method")
    assert page.evaluate(LINES) == []
    page.click("#reset")
    assert len(page.evaluate(LINES)) == len(lines_of(page.evaluate(DATA), set(page.evaluate(DATA)["trials"])))


def test_every_chip_leaves_the_trials_of_its_value(page: Any) -> None:
    data = page.evaluate(DATA)
    page.click("#show-all")
    tried = 0
    for facet in data["facets"]:
        menu = page.locator(f"details.chip[data-facet='{facet}']")
        if not menu.count():
            continue
        menu.locator("summary").click()
        for box in menu.locator("label").all():
            box.locator("input").check()
            wanted = names_with(data, facet, box.locator("span").inner_text())
            assert set(page.evaluate(TRIALS)) == wanted
            assert set(page.evaluate(LINES)) == lines_of(data, wanted)
            assert set(page.evaluate("window.filtered.at(-1)")) == wanted
            box.locator("input").uncheck()
            tried += 1
        page.keyboard.press("Escape")
        assert not menu.evaluate("(menu) => menu.open")
    assert tried > 10


def test_two_values_of_a_chip_are_either_and_two_chips_are_both(page: Any) -> None:
    data = page.evaluate(DATA)
    for facet, values in (("Steps", ("5", "10")), ("Network", ("unet-16",))):
        page.click(f"details.chip[data-facet='{facet}'] summary")
        for value in values:
            page.check(f"details.chip[data-facet='{facet}'] input[value='{value}']")
        page.keyboard.press("Escape")
    wanted = (names_with(data, "Steps", "5") | names_with(data, "Steps", "10")) & names_with(data, "Network", "unet-16")
    assert set(page.evaluate("window.filtered.at(-1)")) == wanted
    assert "of them" not in page.inner_text("details.chip[data-facet='Steps'] summary")
    page.click("#reset")
    assert set(page.evaluate("window.filtered.at(-1)")) == set(data["trials"])


def test_all_shows_every_trial_below_its_method(page: Any) -> None:
    assert page.evaluate(TRIALS) == []
    page.click("#show-all")
    shown = page.evaluate(TRIALS)
    assert sorted(shown) == sorted(page.evaluate(DATA)["trials"])
    assert page.get_attribute("#show-all", "aria-pressed") == "true"
    rows = page.evaluate(CELLS, "methods-0")
    place = next(place for place, row in enumerate(rows) if row[0] == "unet-16:ddim")
    assert [row[0] for row in rows[place + 1 : place + 4]] == [f"unet-16:ddim-{steps}" for steps in (5, 10, 20)]
    page.click("#show-best")
    assert page.evaluate(TRIALS) == []


def test_a_step_count_puts_that_trial_in_its_methods_line(page: Any) -> None:
    page.click("details.chip[data-facet='Steps'] summary")
    page.check("details.chip[data-facet='Steps'] input[value='20']")
    assert set(page.evaluate(LINES)) == {f"unet-16:{name}" for name in ("ddim", "dpmpp-2m", "unipc", "srds-batched")}
    assert page.inner_text(f"{METHODS} td.is-fid small:last-child") == "at 20 steps"
    first = page.evaluate("document.querySelector('tr.method').dataset.trial")
    assert first == f"{page.evaluate(LINES)[0]}-20"


def test_every_column_can_be_shown_and_hidden(page: Any) -> None:
    page.click("#columns > summary")
    boxes = page.locator("#columns label").all()
    assert len(boxes) > 20
    for box in boxes:
        text = box.locator("span").inner_text()
        heading = page.locator("table.report-table thead th", has_text=text)
        headings = [one for one in heading.all_inner_texts() if one.strip() == text]
        before = box.locator("input").is_checked()
        assert bool(headings) >= before
        box.locator("input").set_checked(not before)
        after = [one for one in heading.all_inner_texts() if one.strip() == text]
        assert (len(after) < len(headings)) if before else (len(after) > len(headings))
        box.locator("input").set_checked(before)


def test_a_column_of_trials_is_hidden_with_that_of_their_method(page: Any) -> None:
    page.click("#show-all")
    page.click("#columns > summary")
    page.locator("#columns label", has_text="KID").locator("input").check()
    widths = page.locator("#methods-0 > tbody > tr, #methods-0 > thead > tr").evaluate_all(
        "(rows) => rows.map((row) => row.cells.length)"
    )
    assert len(set(widths)) == 1
    kid = page.evaluate("() => [...document.querySelectorAll('tr.trial td.is-kid')].map((cell) => cell.textContent)")
    assert len(kid) == len(page.evaluate(DATA)["trials"])
    assert all(kid)


def test_every_heading_sorts_both_ways_with_what_is_missing_last(page: Any) -> None:
    for table in page.evaluate(DATA)["tables"]:
        if len(table["rows"]) < 2:
            continue
        shown = [place for place, column in enumerate(table["columns"]) if column.get("shown")]
        for place, column in enumerate(shown):
            heading = page.locator(f"#{table['id']} thead th").nth(place)
            for direction in ("ascending", "descending"):
                heading.click()
                wait_for_sort(page, heading, direction)
                values = page.evaluate(
                    "([id, place]) => new DataTable.Api(`#${id}`)"
                    ".cells(null, place, {order: 'current'}).render('sort').toArray()",
                    [table["id"], column],
                )
                known = [value for value in values if value is not None]
                assert values == known + [None] * (len(values) - len(known))
                numbers = [value for value in known if not isinstance(value, str)]
                assert numbers == sorted(numbers, reverse=direction == "descending")
            heading.click()


def wait_for_sort(page: Any, heading: Any, direction: str) -> None:
    """Wait until a heading says that it sorts."""
    page.wait_for_function("([one, wanted]) => one.ariaSort === wanted", arg=[heading.element_handle(), direction])


def test_headings_sort_and_rows_unfold_by_the_keyboard(page: Any) -> None:
    order = page.locator("#methods-0 thead th", has_text="GFLOPs").locator(".dt-column-order")
    order.focus()
    assert page.is_visible("#tip")
    page.keyboard.press("Enter")
    assert page.wait_for_selector("#methods-0 thead th.is-flops_per_image[aria-sort='ascending']")

    page.locator(f"{METHODS} .toggle").first.focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.getAttribute('aria-expanded')") == "true"
    page.keyboard.press("Tab")
    assert page.evaluate("Boolean(document.activeElement.closest('tr.trial'))")
    if page.evaluate("document.activeElement.getAttribute('aria-expanded')") == "false":
        page.keyboard.press("Enter")
    assert page.locator("tr.unfolded .detail").count() == 1
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none"
    page.keyboard.press("Enter")
    assert page.locator("tr.unfolded .detail").count() == 0


def test_every_control_of_the_bar_is_reached_by_tab(page: Any) -> None:
    page.focus("#search")
    seen = []
    for _ in range(12):
        page.keyboard.press("Tab")
        seen.append(page.evaluate(FOCUSED))
    for name in ("Family", "Network", "Steps", "Solver", "show-best", "show-all", "columns", "copy"):
        assert name in seen


def test_a_trial_unfolds_to_all_that_is_known_of_it(page: Any) -> None:
    name = "uvit-16:early-exit-steep-10"
    page.evaluate("(name) => document.dispatchEvent(new CustomEvent('trial', {detail: name}))", name)
    detail = page.locator("tr.unfolded .detail")
    text = detail.inner_text()
    assert f"oneclock run quick --only {name}" in text
    for title in ("Remake it", "Samples", "Cost by step", "Controls", "Parameters", "Versions and hashes"):
        assert title in text
    assert "in one training" in text
    assert detail.locator("svg rect").count() == 10
    widths = detail.locator("img").evaluate_all("(all) => all.map((one) => one.getBoundingClientRect().width)")
    assert len(widths) == 4
    assert len(set(widths)) == 1
    assert widths[0] > 300
    detail.locator("summary", has_text="Versions").click()
    assert "git_sha" in detail.inner_text()
    detail.locator("button", has_text="Copy").click()
    assert page.evaluate("window.copied.at(-1)") == f"oneclock run quick --only {name}"


def test_a_trial_that_is_hidden_is_revealed(page: Any) -> None:
    page.fill("#search", "unipc")
    page.evaluate("() => document.dispatchEvent(new CustomEvent('trial', {detail: 'unet-16:ddim-20'}))")
    row = page.locator("tr.trial[data-trial='unet-16:ddim-20']")
    assert row.is_visible()
    box = row.bounding_box()
    assert 0 <= box["y"] <= 900
    assert page.input_value("#search") == ""


def test_a_time_to_quality_unfolds_to_every_target(page: Any) -> None:
    page.locator("table.targets tr.method .toggle", has_text="unet-16:unipc").click()
    inner = page.locator("table.targets tr.unfolded table.inner")
    assert inner.locator("tbody tr").count() == 3
    assert inner.locator("th").all_inner_texts()[:4] == ["FID target", "Rank", "ms/image", "Latency (ms)"]


def test_every_heading_says_what_it_means(page: Any) -> None:
    for heading in page.locator("table.report-table thead th").all():
        heading.hover()
        assert page.inner_text("#tip") == heading.get_attribute("data-tip")
        assert len(page.inner_text("#tip")) > 15
    page.keyboard.press("Escape")
    assert not page.is_visible("#tip")


def test_definitions_stand_under_the_headings_that_people_see(page: Any) -> None:
    page.click("#definitions > summary")
    defined = set(page.locator("#definitions table").first.locator("tbody td:first-child").all_inner_texts())
    seen = {text.strip() for text in page.locator("table.report-table .dt-column-title").all_inner_texts()}
    assert seen <= defined


def test_rows_that_do_not_rank_stay_greyed_with_the_reason(open_report: Any) -> None:
    page = open_report("made")
    page.click("#show-all")
    data = page.evaluate(DATA)
    unranked = [name for name, trial in data["trials"].items() if trial["place"] is None]
    assert len(unranked) == 2
    for name in unranked:
        row = page.locator(f"tr.trial.unranked[data-trial='{name}']")
        assert data["details"]["trials"][name]["reasons"] in row.inner_text()
        assert "does not rank" in row.inner_text()


def test_every_folded_part_opens(page: Any) -> None:
    for fold in page.locator("details.fold").all():
        fold.locator("summary").first.click()
        assert fold.evaluate("(fold) => fold.open && fold.innerText.trim().split('\\n').length > 1")


def test_every_link_leads_to_a_part_that_is_there(page: Any) -> None:
    links = page.locator("nav a").all()
    assert len(links) >= 4
    for link in links:
        link.click()
        target = page.locator(link.get_attribute("href"))
        assert target.count() == 1
        assert target.evaluate("(one) => one.tagName !== 'DETAILS' || one.open")
