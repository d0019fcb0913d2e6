"""The command line in the process of a test: how a command ended, and what it said."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from harness.cli import doctor, main
from harness.measure import machine_load
from harness.pools.local import LocalPool
from harness.pools.pool import Pool
from harness.report.figures import draw as figures
from harness.runs import workplace


class Said:
    """How a command ended and what it said."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


Command = Callable[..., Said]


def use_pool(monkeypatch: pytest.MonkeyPatch, pool: Callable[[], Pool]) -> None:
    """Let runs and trainings have this pool where they would start Ray."""
    monkeypatch.setattr(workplace, "make_pool", lambda *_: pool())
    monkeypatch.setattr(workplace, "open_ray", lambda *_, meanwhile: closing(pool()))


def parts(results: Path, table: str = "trials") -> list[Path]:
    return sorted((results / "toy" / table).glob("*.parquet"))


def run_here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
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
