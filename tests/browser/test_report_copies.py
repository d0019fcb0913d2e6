"""What is copied from report.html is what is shown, in its order, and harmless in spreadsheets, Markdown and LaTeX."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest

from harness.report.formats import escape_latex, escape_markdown

pytestmark = pytest.mark.browser

DATA = "() => JSON.parse(document.getElementById('report-data').textContent)"
CELLS = """
(id) => [...document.querySelectorAll(`#${id} > tbody > tr:not(.unfolded)`)].map((row) => [...row.cells].map(
  (cell) => cell.classList.contains("is-name") ? cell.querySelector(".toggle").textContent
    : (cell.querySelector(".value, .badge") ?? cell).textContent))
"""


@pytest.fixture
def page(open_report: Any) -> Any:
    """Return the report of `quick`, 1400 pixels wide."""
    return open_report()


@pytest.mark.parametrize("opened", [False, True])
def test_csv_holds_what_is_shown_in_its_order(page: Any, opened: bool) -> None:
    page.fill("#search", "unet-16")
    if opened:
        page.click("#show-all")
    page.locator("#methods-0 thead th", has_text="Latency").click()
    copy_as(page, "methods-0 CSV")
    heading, *rows = csv.reader(io.StringIO(page.evaluate("window.copied.at(-1)")))
    assert heading == [text.strip() for text in page.locator("#methods-0 thead th .dt-column-title").all_inner_texts()]
    shown = page.evaluate(CELLS, "methods-0")
    assert [row[0] for row in rows] == [row[0] for row in shown]
    for copied, seen in zip(rows, shown, strict=True):
        assert [text.split(" [")[0] for text in copied] == [text.split(" (NFE")[0] for text in seen]


@pytest.mark.parametrize("form", ["Markdown", "LaTeX"])
def test_every_table_is_copied_in_every_form(page: Any, form: str) -> None:
    for table in page.evaluate(DATA)["tables"]:
        copy_as(page, f"{table['id']} {form}")
        text = page.evaluate("window.copied.at(-1)")
        assert "copied" in page.inner_text("#count")
        lines = [line for line in text.splitlines() if line.endswith("|" if form == "Markdown" else r"\\")]
        assert len(lines) == len(table["rows"]) + (2 if form == "Markdown" else 1)
        mark = r"(?<!\\)\|" if form == "Markdown" else r"(?<!\\)&"
        cells = {page.evaluate("([text, mark]) => text.split(new RegExp(mark)).length", [line, mark]) for line in lines}
        assert len(cells) == 1
        if form == "LaTeX":
            assert text.isascii()


def copy_as(page: Any, which: str) -> None:
    """Press a button of the menu of copies."""
    if not page.evaluate("document.getElementById('copy').open"):
        page.click("#copy > summary")
    page.click(f"[data-copy='{which}']")


def test_names_that_attack_are_copied_as_text(open_report: Any) -> None:
    page = open_report("hostile")
    page.click("#show-all")
    names = [row["name"] for table in page.evaluate(DATA)["tables"] for row in table["rows"]]
    assert len(names) >= 10
    texts = {"CSV": "", "Markdown": "", "LaTeX": ""}
    for table in page.evaluate(DATA)["tables"]:
        for form in texts:
            copy_as(page, f"{table['id']} {form}")
            texts[form] += page.evaluate("window.copied.at(-1)")

    cells = [cell for row in csv.reader(io.StringIO(texts["CSV"])) for cell in row]
    assert [cell for cell in cells if cell[:1] in tuple("=+@-") and not cell[1:].replace(".", "").isdigit()] == []
    for name in names:
        assert name in cells or f"'{name}" in cells
        assert escape_markdown(name) in texts["Markdown"]
        assert escape_latex(name) in texts["LaTeX"]


def test_without_a_clipboard_the_text_is_selected_and_copied(page: Any) -> None:
    page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error('denied')); }")
    page.evaluate(
        "() => document.addEventListener('copy', () => window.copied.push(String(document.activeElement.value)))"
    )
    copy_as(page, "methods-0 Markdown")
    page.wait_for_function("() => window.copied.length === 1")
    assert page.evaluate("window.copied[0]").startswith("| Method |")
