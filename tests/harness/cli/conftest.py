"""What the tests of commands share: the command line in this process, a small suite, a results folder to send."""

from __future__ import annotations

from pathlib import Path

import pytest
from kit.cli_kit import Command, run_here
from kit.faulty import measure
from kit.faulty import suite as faulty_suite
from kit.toys import suite_file, trial


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Return a call that runs the command line here, with one worker in this process, and few plots."""
    return run_here(monkeypatch, capsys)


@pytest.fixture
def suite(tmp_path: Path) -> str:
    return suite_file(tmp_path, trial(steps=3))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with two finished trials and a picture each."""
    results = tmp_path_factory.mktemp("finished")
    measure(faulty_suite([{"solver": "heun", "steps": 2}]), results)
    return results / "tiny"
