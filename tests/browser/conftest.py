"""Two reports in headless Chromium: a copy of the reference run `quick`, and synthetic rows, not all of which rank."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kit import tables
from pandas import DataFrame

from harness import api
from harness.report.build import build_report
from harness.report.figures import draw

REFERENCE = Path(__file__).resolve().parents[2] / "results" / "reference" / "quick"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FIGURES = ("headline", "levels")
OPENED = """
window.copied = []; window.filtered = [];
Object.defineProperty(navigator, "clipboard", {value: {writeText: async (text) => { window.copied.push(text); }}});
document.addEventListener("filter", (event) => window.filtered.push(event.detail));
"""

NASTY = (
    "<script>alert(1)</script>", "</script><img src=x onerror=alert(1)>", '=cmd|"/c calc"!A1', "+1+1", "@SUM(A1)",
    r"\input{/etc/passwd}", "50%_&#$~^{}", "a|b, c |", "[x](javascript:alert(1))", "*[bold",
)  # fmt: skip

Open = Callable[..., Any]


def hostile(table: DataFrame) -> DataFrame:
    """Return rows whose names and reasons attack the page and what is copied from it."""
    table = table[table["solver"].isin(["unipc", "ddim"])].head(len(NASTY)).reset_index(drop=True)
    table["method"] = table["network"] = table["reasons"] = table["device_name"] = NASTY[: len(table)]
    table["device_name"] = NASTY[0]
    table.loc[table.index % 3 == 2, "verdict"] = "INVALID"
    return table


@pytest.fixture(scope="session")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return report.html of each of the two, with a few of their figures alone."""
    root = tmp_path_factory.mktemp("reports")
    shutil.copytree(REFERENCE, root / "quick", ignore=shutil.ignore_patterns("*.html", "*.svg", "*.md", "*.tex"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(draw, "DRAWERS", {name: draw.DRAWERS[name] for name in FIGURES})
        api.report(root / "quick")
        build_report(root / "made", tables.tables())
        build_report(root / "hostile", tables.tables(hostile))
    return {name: root / name / "report.html" for name in ("quick", "made", "hostile")}


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Return a headless Chromium; the test is skipped where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no chromium: install Debian's package chromium")
    with playwright.sync_playwright() as running:
        started = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def open_report(browser: Any, reports: dict[str, Path]) -> Iterator[Open]:
    """Return a function that opens a report; at the end no page may have complained or requested anything."""
    problems: list[str] = []
    contexts = []

    def open_page(name: str = "quick", width: int = 1400, scheme: str = "light") -> Any:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        context.add_init_script(OPENED)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda line: problems.append(line.text) if line.type in ("error", "warning") else None)
        page.on("dialog", lambda dialog: (problems.append(dialog.message), dialog.dismiss()))
        page.on("pageerror", lambda error: problems.append(str(error)))
        address = reports[name].as_uri()
        page.on("request", lambda request: problems.append(request.url) if not _is_own(request.url, address) else None)
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert problems == []


def _is_own(url: str, address: str) -> bool:
    return url == address or url.startswith("data:")
