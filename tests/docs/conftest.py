"""What the tests of the documentation share: the command line in this process, and a folder for each page."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from kit.cli_kit import Command, run_here
from kit.docs_kit import PageRunner
from kit.faulty import known_here

from harness.cli.new import network_choice


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    monkeypatch.setattr(network_choice, "time_training_image", lambda net, data: 0.001)
    return run_here(monkeypatch, capsys)


@pytest.fixture
def page_runner(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PageRunner]:
    """What runs a page's blocks: in an empty folder, without modules that another page has installed."""
    site, here = tmp_path / "site", tmp_path / "here"
    site.mkdir()
    here.mkdir()
    monkeypatch.chdir(here)
    before = set(sys.modules)
    with known_here(str(site)):
        yield PageRunner(command, site)
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]
