"""Version, changelog and citation of made-up trees, each broken in one place."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.release.documents import check_changelog, check_citation, check_version
from harness.release.findings import ReleaseFinding
from harness.source_tree import ROOT

FILES = {
    "harness/version.py": '"""Doc."""\n\nVERSION = "1.2.0"\n',
    "pyproject.toml": '[project]\nname = "oneclock"\nlicense = "Apache-2.0"\ndynamic = ["version"]\n'
    '[tool.setuptools.dynamic]\nversion = { attr = "harness.version.VERSION" }\n',
    "CITATION.cff": 'cff-version: 1.2.0\nmessage: "Cite"\ntitle: "oneclock"\ntype: software\nversion: 1.2.0\n'
    'license: Apache-2.0\nauthors:\n  - name: "All"\n',
    "CHANGELOG.md": "# Changelog\n\n## 1.2.0 (2026-12-01)\n\n### Added\n\n- a\n\n"
    "### Figures that change\n\n- b\n- c\n\n"
    "## 1.1.0\n\n### Figures that change\n\n- d\n",
}


def tree(root: Path, **changes: tuple[str, str, str]) -> Path:
    """Write a sound tree in which a text of a file is another: (file, from, to) each."""
    files = dict(FILES)
    for name, before, after in changes.values():
        assert before in files[name]
        files[name] = files[name].replace(before, after)
    for name, text in files.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    return root


def test_a_sound_tree_passes(tmp_path: Path) -> None:
    root = tree(tmp_path)
    assert check_version(root).line() == (
        "ok      version    1.2.0 in harness/version.py, pyproject.toml, CITATION.cff, CHANGELOG.md"
    )
    assert check_changelog(root).sentence == '"1.2.0 (2026-12-01)" has "Figures that change" with 2 entries'
    assert not check_citation(root).failed


def test_this_tree_passes() -> None:
    assert [check(ROOT).failed for check in (check_version, check_changelog, check_citation)] == [False] * 3


@pytest.mark.parametrize(
    "change",
    [
        ("harness/version.py", "1.2.0", "1.2.1"),
        ("CITATION.cff", "version: 1.2.0\nlicense", "version: 1.3.0\nlicense"),
        ("CITATION.cff", "version: 1.2.0\nlicense", "license"),
        ("CHANGELOG.md", "## 1.2.0", "## 1.2.1"),
        ("CHANGELOG.md", "## 1.2.0 (2026-12-01)", "## Unreleased"),
        ("pyproject.toml", 'dynamic = ["version"]', 'version = "1.1.0"'),
        ("pyproject.toml", "harness.version.VERSION", "methods.VERSION"),
    ],
)  # fmt: skip
def test_one_other_version_is_found(tmp_path: Path, change: tuple[str, str, str]) -> None:
    finding = check_version(tree(tmp_path, one=change))
    assert finding.failed
    assert finding.line().startswith("failed  version    found ")
    assert change[0] in finding.sentence


def test_an_empty_section_above_the_release_is_skipped(tmp_path: Path) -> None:
    root = tree(tmp_path, one=("CHANGELOG.md", "## 1.2.0", "## Unreleased\n\n## 1.2.0"))
    assert not check_version(root).failed
    assert not check_changelog(root).failed


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        ("### Figures that change\n\n- b\n- c\n\n", "", '"Figures that change" is missing under "1.2.0 (2026-12-01)"'),
        ("- b\n- c\n", "", '"Figures that change" is empty under "1.2.0 (2026-12-01)"'),
        ("## 1", "# 1", "CHANGELOG.md has no section"),
    ],
)
def test_figures_that_change_are_named(tmp_path: Path, before: str, after: str, sentence: str) -> None:
    finding = check_changelog(tree(tmp_path, one=("CHANGELOG.md", before, after)))
    assert finding.failed
    assert finding.sentence == sentence


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        ('message: "Cite"\n', "", "message missing"),
        ("cff-version: 1.2.0", "cff-version: 1.0.3", "cff-version is 1.0.3"),
        ("type: software", "type: book", "type is book"),
        ('name: "All"', 'email: "a@b.c"', "an author has no name"),
        ("license: Apache-2.0", "license: MIT", "license is MIT, in pyproject.toml Apache-2.0"),
        ("title:", "title: [", "missing"),
    ],
)
def test_a_citation_that_is_not_valid(tmp_path: Path, before: str, after: str, sentence: str) -> None:
    finding = check_citation(tree(tmp_path, one=("CITATION.cff", before, after)))
    assert finding.failed
    assert sentence in finding.sentence


def test_a_line_says_what_to_do() -> None:
    assert ReleaseFinding("wheel", "it lacks a", "add a").line() == "failed  wheel      it lacks a; add a"
