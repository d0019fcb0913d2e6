"""The page of a running benchmark: how far it is, when it ends, its latest rows; without figures.

Drawing figures would disturb what is timed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from harness.report.page import render_page
from harness.storage.disk import replace

PAGE, MARK = "report.html", ".report"
"""The page, and the file that marks it as a whole report."""


class LiveReport:
    """Writes report.html while a run goes on, unless the folder holds a whole report of earlier rows.

    The screen calls it, in the process of `harness.run`, on the thread of the driver's loop.
    A call may block for one small file, at most every `seconds`.
    Nothing here is timed, but what the workers of this machine time must not be disturbed.
    """

    def __init__(
        self,
        folder: Path,
        title: str,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = datetime.now,
    ) -> None:
        """`seconds`: the page is written, and read by a browser, at most this often."""
        self.path, self._title = folder / PAGE, title
        self._seconds, self._clock, self._now = seconds, clock, now
        self.is_live = not (folder / MARK).exists()
        """False where the folder holds a whole report of earlier rows, which stays until the end."""
        self._rows: list[dict[str, str]] = []
        self._sentences: tuple[str, ...] = ()
        self._done = self._total = 0
        self._left: float | None = None
        self._running: tuple[str, ...] = ()
        self._is_stopped = False
        self._text = b""
        self._written = clock() - seconds

    def begin(self, sentences: Sequence[str]) -> None:
        """Write the page before there is any row, with what the run is going to do."""
        self._sentences = tuple(sentences)
        self._write()

    def set_progress(self, done: int, total: int, seconds_left: float | None, running: Sequence[str]) -> None:
        """Set how many trials of how many have rows, the time left, and what runs; write the page if it is due."""
        self._done, self._total, self._left, self._running = done, total, seconds_left, tuple(running)
        if self._clock() - self._written >= self._seconds:
            self._write()

    def add_row(self, row: Mapping[str, Any], finding: str = "") -> None:
        """Add a row that was committed, with how it compares with the baseline, and write the page if it is due.

        The first row is due at once.
        """
        self._rows.insert(0, _cell_texts(row, finding))
        if len(self._rows) == 1 or self._clock() - self._written >= self._seconds:
            self._write()

    def stop(self) -> None:
        """Write for the last time that the run was stopped, without refresh or time left.

        Only a page of this object's is replaced: never a whole report, nor the page of another run. A disk that takes
        no file any more is no error here, since the run ends by one already.
        """
        self._is_stopped, self._left, self._running = True, None, ()
        self._sentences = self._sentences[:1]  # what is measured; when it ends is no longer true
        with suppress(OSError):
            if self._text and self.path.read_bytes() == self._text:
                self._write()

    def _write(self) -> None:
        if not self.is_live:
            return
        now = self._now()
        left = None if self._left is None else max(round(self._left / 60), 1)

        page = render_page(
            "live.html.j2",
            title=self._title,
            sentences=self._sentences,
            rows=self._rows,
            # how far it is
            done=self._done,
            total=self._total,
            percent=round(100 * self._done / self._total) if self._total else 0,
            minutes_left=left,
            end=None if self._left is None else f"{now + timedelta(seconds=self._left):%H:%M}",
            running=self._running,
            written=f"{now:%H:%M:%S}",
            seconds=round(self._seconds),
            is_stopped=self._is_stopped,
        )
        self._text = page.encode()
        replace(self.path, self._text)
        self._written = self._clock()


def _cell_texts(row: Mapping[str, Any], finding: str) -> dict[str, str]:
    def figure(name: str, times: float = 1.0) -> str:
        value = row.get(name)
        return "–" if value is None else f"{value * times:.3g}"

    is_valid = row["verdict"] == "VALID"
    return {
        **{name: str(row[name]) for name in ("network", "method", "steps")},
        "fid": figure("fid"),
        "latency": figure("latency_seconds", 1e3),
        "speedup": figure("speedup"),
        "finding": finding if is_valid else f"{row['verdict']}: {row['reasons']}",
        "kind": "" if is_valid else "bad",
    }
