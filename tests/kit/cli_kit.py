"""The command line in the process of a test: how a command ended, and what it said."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from harness.pools.pool import Pool
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
