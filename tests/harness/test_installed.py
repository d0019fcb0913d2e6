"""An installed package, no source tree: cards, suites and zoo are found, and `submit` does not send site-packages."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from harness.cli import job_start, submit
from harness.config.zoo_card import zoo_names
from harness.errors import UsageError
from harness.source_tree import ROOT, is_source_tree

FOUND = """
import harness
from harness.config.suite import suite_names
from harness.config.zoo_card import zoo_names
from harness.data.cards import card_names, load_card
print(harness.__file__)
print(len(suite_names()), len(zoo_names()), sorted(card_names()), load_card("digits").title)
"""


@pytest.mark.slow
def test_a_wheel_holds_cards_suites_and_zoo(tmp_path: Path) -> None:
    source, site = tmp_path / "source", tmp_path / "site"
    source.mkdir()
    for name in ("harness", "methods", "datasets"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    make = f"from setuptools import build_meta; build_meta.build_wheel({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", make], cwd=source, check=True, capture_output=True, timeout=200)

    # as pip unpacks it, far from the tree
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        wheel.extractall(site)
    (site / "datasets").mkdir()  # another project's package of this name
    variables = {**os.environ, "PYTHONPATH": str(site)}
    found = subprocess.run(
        [sys.executable, "-c", FOUND], cwd=tmp_path, env=variables, check=True, capture_output=True, text=True
    ).stdout.splitlines()
    assert found[0] == str(site / "harness" / "__init__.py")
    suites, zoo = (int(word) for word in found[1].split()[:2])
    assert suites == len(list((ROOT / "harness" / "suites").glob("*.toml")))
    assert zoo == len(zoo_names()) > 10
    assert str(sorted(path.stem for path in (ROOT / "datasets").glob("*.toml"))) in found[1]
    assert not is_source_tree(site)


def test_submit_refuses_what_is_no_source_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_source_tree()
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "another"\n')
    assert not is_source_tree(tmp_path)
    monkeypatch.setattr(job_start, "ROOT", tmp_path)
    with pytest.raises(UsageError, match=r"is installed in .*sends the source tree.*run it from a clone"):
        submit.submit_suite("quick", "http://127.0.0.1:1", tmp_path, [], None, None)
