"""What the tests of commands share: the command line in this process, a small suite, a results folder to send."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from kit.cli_kit import Command, Said, use_pool
from kit.faulty import measure
from kit.faulty import suite as faulty_suite
from kit.toys import suite_file, trial

from harness.cli import doctor, main
from harness.measure import machine_load
from harness.pools.local import LocalPool
from harness.report.figures import draw as figures


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Return a call that runs the command line here, with one worker in this process, and few plots."""
    use_pool(monkeypatch, LocalPool)
    monkeypatch.setattr(figures, "DRAWERS", {"fid-nfe": figures.DRAWERS["fid-nfe"]})
    monkeypatch.setattr(machine_load, "describe_busy_machine", lambda: "")
    monkeypatch.setattr(doctor, "_LEAST_FREE", 0)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)

    def run(*words: object) -> Said:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["oneclock", *map(str, words)])
        code: object = 0
        try:
            main()
        except SystemExit as ended:
            code = ended.code or 0
        out, err = capsys.readouterr()
        assert isinstance(code, int)
        assert "Traceback" not in err
        return Said(code, out, err)

    return run


@pytest.fixture
def suite(tmp_path: Path) -> str:
    return suite_file(tmp_path, trial(steps=3))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with two finished trials and a picture each."""
    results = tmp_path_factory.mktemp("finished")
    measure(faulty_suite([{"solver": "heun", "steps": 2}]), results)
    return results / "tiny"
