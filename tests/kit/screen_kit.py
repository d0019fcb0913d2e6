"""Rows, units and consoles for tests of the screen, without a clock that runs."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from harness.screen.displays import LineDisplay
from harness.screen.run_progress import RunProgress
from harness.screen.run_screen import Screen
from harness.task import Unit
from kit import plan_kit

ROW: dict[str, Any] = {
    "dataset": "digits", "network": "unet-8", "method": "dpmpp-2m", "steps": 5, "fid": 20.04, "fid_low": 18.1,
    "fid_high": 22.0, "latency_seconds": 0.01234, "speedup": 1.02, "speedup_low": 0.97, "speedup_high": 1.1,
    "fid_difference_low": -9.0, "fid_difference_high": -2.0, "is_baseline": False, "verdict": "VALID", "reasons": "",
}  # fmt: skip


class FakeClock:
    """A clock that stands still until it is moved."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def unit(kind: str = "sample", number: int = 0) -> Unit:
    """Return a unit of a plan's first task of a kind."""
    made = plan_kit.plan()
    return next(task.unit(number) for task in made.tasks.values() if task.kind == kind)


def recorded_console(width: int, height: int = 30, **options: Any) -> Console:
    """Return a console of a terminal that writes into memory."""
    return Console(file=io.StringIO(), width=width, height=height, force_terminal=True, highlight=False, **options)


def drawn_lines(renderable: Any, width: int, height: int = 30) -> list[str]:
    """Return what a console of this size shows of a renderable, without colours."""
    console = recorded_console(width, height, color_system=None)
    console.print(renderable)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def line_screen(clock: FakeClock) -> tuple[Screen, io.StringIO]:
    """Return a screen of lines into memory, without the thread that watches it."""
    file = io.StringIO()

    def lines(progress: RunProgress) -> LineDisplay:
        return LineDisplay(progress, file, watch_seconds=None)

    return Screen(display=lines, clock=clock), file
