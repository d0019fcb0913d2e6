"""The display of a run on standard error: bars on a terminal, lines and a heartbeat elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from harness.planning.plan import PlannedTrial
from harness.report.live import LiveReport
from harness.specs.limits import HEARTBEAT_SECONDS
from harness.storage.run_log import handler_attached
from harness.task import Progress, Unit

_ENOUGH_TASKS = 5
"""The time left is estimated once so many tasks have ended."""

_LOG = logging.getLogger("oneclock.driver.progress")


class Screen:
    """A `RunListener` for people: a line per row; trials, tasks, the time left and what runs.

    Within its `with` block it also shows the messages that the driver logs at INFO and above.
    """

    def __init__(
        self, quiet: bool = False, page: LiveReport | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        # on a terminal bars that are redrawn, elsewhere lines
        self.console = Console(file=sys.stderr, quiet=quiet, highlight=False)
        self.live = self.console.is_terminal and not quiet
        self.bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.live,
            transient=True,
        )

        # what it counts, and the bars of the units that run
        self._page = page
        self._clock = clock
        self._began = self._last_line = clock()
        self._trials = _Count("trials")
        self._tasks = _Count("tasks")
        self._unit_bars: dict[str, Any] = {}
        self._running: dict[str, str] = {}
        self._attached = ExitStack()

    def __enter__(self) -> Screen:
        self.bars.start()
        self._attached.enter_context(handler_attached(_ScreenHandler(self._show)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._attached.close()
        self.bars.stop()

    def on_start(self, total: int, cached: int, units: int) -> None:
        _LOG.info("%d trials: %d already measured, %d to do in %d tasks", total, cached, total - cached, units)
        self._began = self._clock()
        self._trials.done, self._trials.total, self._tasks.total = cached, total, units
        if self._page is not None:
            self._page.set_total(total)
        self._overall = {
            count: self.bars.add_task(count.name, total=max(count.total, 1), completed=count.done, note="")
            for count in (self._trials, self._tasks)
        }

    def on_units_added(self, units: int) -> None:
        self._tasks.total += units
        self.bars.update(self._overall[self._tasks], total=self._tasks.total)

    def on_progress(self, unit: Unit, progress: Progress) -> None:
        self._running[unit.key] = f"{unit.label} {100 * progress.done // max(progress.total, 1)} %"
        if unit.key not in self._unit_bars:
            self._unit_bars[unit.key] = self.bars.add_task(unit.label, total=progress.total, note="")
        self.bars.update(self._unit_bars[unit.key], completed=progress.done, total=progress.total, note=progress.note)

    def on_unit_end(self, unit: Unit) -> None:
        self._running.pop(unit.key, None)
        bar = self._unit_bars.pop(unit.key, None)
        if bar is not None:
            self.bars.remove_task(bar)
        self._advance(self._tasks)

    def on_row(self, planned: PlannedTrial, row: Mapping[str, Any]) -> None:
        self._advance(self._trials)
        _LOG.info("[%s] %s: %s", self._trials, planned.trial.short, _describe_row(row))
        if self._page is not None:
            self._page.add_row(row)

    def on_tick(self) -> None:
        """Print a heartbeat after `HEARTBEAT_SECONDS` without a line, unless there are bars."""
        if not self.live and self._clock() - self._last_line >= HEARTBEAT_SECONDS:
            self._show(self.heartbeat())
        if self._page is not None:
            self._page.write_if_due()

    def heartbeat(self) -> str:
        """Return time of day, ended trials and tasks, the time left, one task that runs."""
        words = [f"{time.strftime('%H:%M')} trials {self._trials}", f"tasks {self._tasks}"]
        if self._tasks.done >= _ENOUGH_TASKS:
            each = (self._clock() - self._began) / self._tasks.done
            words.append(f"left {_minutes(each * (self._tasks.total - self._tasks.done))}")
        words += list(self._running.values())[-1:]
        return " · ".join(words)

    def _show(self, line: str) -> None:
        self._last_line = self._clock()
        with suppress(OSError):  # a closed terminal does not end a run
            self.console.print(line, markup=False, soft_wrap=True)

    def _advance(self, count: _Count) -> None:
        count.done += 1
        self.bars.update(self._overall[count], completed=count.done)


class _ScreenHandler(logging.Handler):
    """Shows messages at INFO and above, without date and level."""

    def __init__(self, show: Callable[[str], None]) -> None:
        super().__init__(logging.INFO)
        self._show = show

    def emit(self, record: logging.LogRecord) -> None:
        self._show(record.getMessage())


class _Count:
    """Number ended of a total."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.done = self.total = 0

    def __str__(self) -> str:
        return f"{self.done}/{self.total}"


def _describe_row(row: Mapping[str, Any]) -> str:
    """Return FID with half its interval, ms and speed-up; or why the row is invalid."""
    if row["verdict"] != "VALID":
        return f"{row['verdict']}: {row['reasons']}"
    half = (row["fid_high"] - row["fid_low"]) / 2 if row.get("fid_low") is not None else None
    fid = f"FID {row['fid']:.3g}" + ("" if half is None else f" ± {half:.2g}")
    return f"{fid}, {1e3 * row['latency_seconds']:.3g} ms an image, {row['speedup']:.2f}x"


def _minutes(seconds: float) -> str:
    """Return seconds as m:ss, or as h:mm:ss from an hour on."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
