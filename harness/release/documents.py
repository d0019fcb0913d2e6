"""Version, changelog and citation of a source tree, read as text."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.release.findings import ReleaseFinding

FIGURES = "Figures that change"
_SECTION = re.compile(r"^## (.*)$", re.M)
_VERSION = re.compile(r'^VERSION = "([^"]+)"$', re.M)
_CFF_KEYS = ("cff-version", "message", "title", "authors", "version", "license")
_CFF_VERSION = "1.2.0"
_CFF_TYPES = ("software", "dataset")
_SAME_EVERYWHERE = "make them the same"


def read_version(root: Path) -> str:
    """Return the version that a build of the tree has; empty where harness/version.py states none."""
    found = _VERSION.search(_read(root / "harness" / "version.py"))
    return found[1] if found else ""


def check_version(root: Path) -> ReleaseFinding:
    """Compare the versions of harness/version.py, pyproject.toml, CITATION.cff and the changelog."""
    tables = tomllib.loads(_read(root / "pyproject.toml"))
    project, own = tables.get("project", {}), read_version(root)
    stated = project.get("version", "")
    if "version" in project.get("dynamic", ()):
        attribute = tables.get("tool", {}).get("setuptools", {}).get("dynamic", {}).get("version", {})
        stated = own if attribute == {"attr": "harness.version.VERSION"} else ""

    heading = _top_section(root)[0]
    named = re.search(r"\d+(?:\.\d+)+\w*", heading)
    found = {
        "harness/version.py": own,
        "pyproject.toml": str(stated),
        "CITATION.cff": str(_citation(root).get("version", "")),
        "CHANGELOG.md": named[0] if named else "",
    }
    if len(set(found.values())) == 1 and own:
        return ReleaseFinding("version", f"{own} in {', '.join(found)}")
    differing = ", ".join(f"{value or 'none'} in {name}" for name, value in found.items())
    return ReleaseFinding("version", f"found {differing}", _SAME_EVERYWHERE)


def check_changelog(root: Path) -> ReleaseFinding:
    """Look for a part on figures that change in the changelog's top section; an empty "Unreleased" is skipped."""
    heading, text = _top_section(root)
    if not heading:
        return ReleaseFinding("changelog", "CHANGELOG.md has no section", f'write one, with "### {FIGURES}"')
    part = re.search(rf"^### {FIGURES}\s*$(.*?)(?=^### |\Z)", text, re.M | re.S)
    if part is None or not part[1].strip():
        state = "is empty" if part else "is missing"
        remedy = "name every change after which rows are not to be compared, or write that there is none"
        return ReleaseFinding("changelog", f'"{FIGURES}" {state} under "{heading}"', remedy)
    entries = len(re.findall(r"^- ", part[1], re.M))
    return ReleaseFinding("changelog", f'"{heading}" has "{FIGURES}" with {entries} entries')


def check_citation(root: Path) -> ReleaseFinding:
    """Check CITATION.cff against what the Citation File Format 1.2.0 requires, and its licence against pyproject's."""
    problems = list(_citation_problems(_citation(root), root))
    if problems:
        return ReleaseFinding("citation", f"CITATION.cff: {'; '.join(problems)}", "see citation-file-format.github.io")
    return ReleaseFinding("citation", f"CITATION.cff is valid, version {_CFF_VERSION} of the format")


def _citation_problems(found: dict[str, Any], root: Path) -> Iterator[str]:
    missing = [key for key in _CFF_KEYS if not found.get(key)]
    if missing:
        yield f"{', '.join(missing)} missing"
        return
    if str(found["cff-version"]) != _CFF_VERSION:
        yield f"cff-version is {found['cff-version']}, expected {_CFF_VERSION}"
    if found.get("type", "software") not in _CFF_TYPES:
        yield f"type is {found['type']}, expected {' or '.join(_CFF_TYPES)}"

    # persons have names, entities a name
    authors = found["authors"] if isinstance(found["authors"], list) else []
    names = ("name", "family-names", "given-names", "alias")
    if not authors or not all(isinstance(one, dict) and any(one.get(key) for key in names) for one in authors):
        yield "an author has no name"
    licence = tomllib.loads(_read(root / "pyproject.toml")).get("project", {}).get("license")
    if licence != found["license"]:
        yield f"license is {found['license']}, in pyproject.toml {licence}"


def _citation(root: Path) -> dict[str, Any]:
    """Return the content of CITATION.cff; nothing where it is absent or no table."""
    import yaml

    try:
        found = yaml.safe_load(_read(root / "CITATION.cff"))
    except yaml.YAMLError:
        return {}
    return found if isinstance(found, dict) else {}


def _top_section(root: Path) -> tuple[str, str]:
    """Return heading and text of the changelog's first section, without an empty "Unreleased"."""
    parts = _SECTION.split(_read(root / "CHANGELOG.md"))[1:]
    sections = list(zip(parts[::2], parts[1::2], strict=True))
    if len(sections) > 1 and sections[0][0].strip() == "Unreleased" and not sections[0][1].strip():
        sections = sections[1:]
    return (sections[0][0].strip(), sections[0][1]) if sections else ("", "")


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""
