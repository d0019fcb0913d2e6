"""The wall time that a plan will take, with a range: from kept rates of this device class, else a guess from FLOPs."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path

from harness.planning.plan import Plan


@dataclass(frozen=True)
class WallTime:
    """Seconds of a run from its start to its report, with a range that should hold it."""

    seconds: float
    low: float
    high: float
    basis: str
    """From what it is known, in words."""

    def sentence(self) -> str:
        """Return it in words, as "about 6 min here (4 to 9)"."""
        return f"about {self.seconds / 60:.0f} min here ({self.low / 60:.0f} to {self.high / 60:.0f})"


def estimate_wall_time(plan: Plan, finished: Container[str], results: Path, workers: int | None = None) -> WallTime:
    """Return the wall time of what is missing of a plan; runs nothing.

    `finished` holds the ids of trials that have a row, `results` is the folder of all suites. `workers` is the
    number of devices, by default what this machine offers, or what the suite asks for.
    """
    raise NotImplementedError
