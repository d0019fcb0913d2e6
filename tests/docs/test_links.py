"""No dead link: relative links of README.md and of the documentation lead to files, their anchors to headings."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

import pytest
import yaml
from kit.docs_kit import DOCS, ROOT, pages

_LINK = re.compile(r"\[[^]]*\]\(([^)\s]+)\)")
READ = [ROOT / "README.md", *pages()]


def without_code(text: str) -> str:
    """Return a page without fenced blocks and without what stands between backticks."""
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S))


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as both the site and a viewer of Markdown make them."""
    found = set()
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    for heading in re.findall(r"^#+ (.+)$", text, re.M):
        plain = unicodedata.normalize("NFKD", heading.replace("`", "")).lower()
        found.add(re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", plain).strip()))
    return found


def dead_links(page: Path, text: str | None = None) -> list[str]:
    """Return the relative links of a page that lead nowhere."""
    dead = []
    for link in _LINK.findall(without_code(page.read_text(encoding="utf-8") if text is None else text)):
        path, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", path):
            continue
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            dead.append(link)
    return dead


@pytest.mark.parametrize("page", READ, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    assert dead_links(page) == []


def test_a_dead_link_is_found() -> None:
    text = "[a](nothing.md) [b](suite.md#trials) [c](suite.md#nothing) [d](#the-card) [e](#nothing) `[f](no.md)`"
    assert dead_links(DOCS / "cards.md", text) == ["nothing.md", "suite.md#nothing", "#nothing"]


def test_links_are_really_looked_at() -> None:
    assert sum(len(_LINK.findall(without_code(page.read_text(encoding="utf-8")))) for page in READ) > 60


def test_every_page_is_in_the_menu_of_the_site() -> None:
    def listed(entries: object) -> set[str]:
        if isinstance(entries, str):
            return {entries}
        items = entries.values() if isinstance(entries, dict) else entries
        return set().union(*map(listed, items))  # type: ignore[call-overload]

    menu = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    assert listed(menu) == {str(page.relative_to(DOCS)) for page in pages()}


def test_pins_of_the_site_that_are_ours_too_are_the_same() -> None:
    def pins(path: Path) -> dict[str, str]:
        return dict(line.split("==") for line in path.read_text(encoding="utf-8").splitlines())

    ours, site = pins(ROOT / "requirements.lock"), pins(DOCS / "requirements.lock")
    assert {name: site[name] for name in site if name in ours} == {name: ours[name] for name in site if name in ours}
    assert {"mkdocs", "mkdocs-material", "mkdocstrings-python"} <= {*site}
