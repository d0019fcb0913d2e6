"""The screen of a run: takes what the driver reports, and passes it to a display and to the page of the folder."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any

from harness.screen.displays import Display, choose_display
from harness.screen.row_words import describe_row, legend
from harness.screen.run_progress import RunProgress
from harness.signals import terminate_on_signal
from harness.specs.limits import TIME_LEFT_SECONDS
from harness.storage.run_log import handler_attached
from harness.task import Progress, Unit

if TYPE_CHECKING:
    from harness.planning.plan import PlannedTrial
    from harness.report.live import LiveReport

_SHOWN = "is_shown"
"""An attribute of records that the display shows otherwise."""
_LOG = logging.getLogger("oneclock.screen")


class Screen:
    """A `RunListener` for people, from before anything is imported until the report is written.

    Within its `with` block it also shows the messages that are logged at INFO and above, and leaves the terminal as it
    was, whatever ends the block.
    """

    def __init__(
        self,
        title: str = "run",
        quiet: bool | None = False,
        shares_process: bool = False,
        display: Callable[[RunProgress], Display] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`quiet`: True shows nothing, None nothing but a bar in a notebook. `display` makes another display.

        Where units run in this process, `shares_process`, nothing is drawn while one runs: some are timed.
        """
        self.progress = RunProgress(title, clock, shares_process)
        self.display = choose_display(self.progress, quiet) if display is None else display(self.progress)
        self._page: LiveReport | None = None
        self._open_units: Callable[[], Mapping[str, int]] | None = None
        self._devices: Callable[[], int] = lambda: 0
        self._counted = clock()
        self._clocks: Sequence[str] = ()
        self._attached = ExitStack()

    def __enter__(self) -> Screen:
        self._attached.enter_context(terminate_on_signal())
        self._attached.enter_context(self.display)
        self._attached.enter_context(handler_attached(_ScreenHandler(self.display.show)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if kind is not None and self._page is not None:
                self._page.stop()
        finally:
            self._attached.__exit__(kind, error, traceback)

    # before the first trial and after the last

    def begin(self, phase: str) -> None:
        """Name what is done now, such as "starting Ray"; "" while trials run."""
        self.progress.begin_phase(phase)
        _LOG.debug(phase or "trials run")
        self.display.draw()

    def open_run(
        self, sentences: Sequence[str], names: Iterable[str], seconds: float | None, clocks: Sequence[str] = ()
    ) -> None:
        """Show the paragraph of the start.

        `names` are those of all trials, `seconds` the plan's estimate, `clocks` the trials that speeds are against.
        """
        self._clocks = clocks
        self.progress.name_width = max(map(len, names), default=0)
        if seconds is not None:
            self.progress.estimate = seconds + self.progress.clock() - self.progress.began
        _LOG.info(" ".join(sentences))
        if self._page is not None:
            self._page.begin(sentences)

    def show_page(self, page: LiveReport) -> None:
        """Keep a page up to date from now on."""
        self._page, self.progress.report, self.progress.report_is_live = page, str(page.path), page.is_live

    def watch(self, open_units: Callable[[], Mapping[str, int]], devices: Callable[[], int]) -> None:
        """Take the open units by kind and the number of devices from these, on the driver's thread."""
        self._open_units, self._devices = open_units, devices

    # what the driver reports

    def on_start(self, total: int, cached: int, units: int) -> None:
        progress = self.progress
        progress.begin_phase("")
        progress.trials.done, progress.trials.total, progress.tasks.total = cached, total, units
        _LOG.info("%d trials: %d already measured, %d to do in %d tasks", total, cached, total - cached, units)
        if total > cached:
            _LOG.info(legend(self._clocks))
        self._refresh()

    def on_units_added(self, units: int) -> None:
        self.progress.tasks.total += units

    def on_unit_start(self, unit: Unit) -> None:
        self.progress.start_unit(unit)

    def on_progress(self, unit: Unit, progress: Progress) -> None:
        self.progress.note_progress(unit, progress)

    def on_unit_end(self, unit: Unit) -> None:
        self.progress.end_unit(unit)

    def on_row(self, planned: PlannedTrial, row: Mapping[str, Any]) -> None:
        words = describe_row(planned.trial.short, row)
        self.progress.add_row(words, row)
        self.progress.name_width = max(self.progress.name_width, len(words.name))
        self._refresh()

        # on the display, in the log, on the page
        trials = self.progress.trials
        number = f"[{trials.done:>{len(str(trials.total))}}/{trials.total}]"
        self.display.show_row(number, words)
        _LOG.info("%s %s", number, words.text(len(words.name)), extra={_SHOWN: True})
        if self._page is not None:
            self._page.add_row(row, words.finding)

    def on_tick(self) -> None:
        if self.progress.clock() - self._counted >= TIME_LEFT_SECONDS:
            self._refresh()
        self.display.draw()

    def _refresh(self) -> None:
        """Count devices and open units anew, and with them the time left; the page takes both."""
        progress = self.progress
        self._counted = progress.clock()
        progress.devices = self._devices()
        if self._open_units is not None:
            progress.update_time_left(self._open_units())
        if self._page is not None:
            running = [one.text() for one in progress.oldest_first()]
            self._page.set_progress(progress.trials.done, progress.trials.total, progress.seconds_left(), running)


class _ScreenHandler(logging.Handler):
    """Shows messages at INFO and above, without date and level."""

    def __init__(self, show: Callable[[str, bool], None]) -> None:
        super().__init__(logging.INFO)
        self._show = show

    def emit(self, record: logging.LogRecord) -> None:
        if not hasattr(record, _SHOWN):
            self._show(record.getMessage(), record.levelno >= logging.WARNING)
