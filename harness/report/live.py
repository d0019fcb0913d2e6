"""The page of a running benchmark: its rows so far, without figures.

Drawing figures would disturb what is timed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
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

    def __init__(self, folder: Path, title: str, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        """`seconds`: the page is written, and read by a browser, at most this often."""
        self._path, self._title = folder / PAGE, title
        self._seconds, self._clock = seconds, clock
        self._wanted = not (folder / MARK).exists()
        self._rows: list[dict[str, str]] = []
        self._total, self._shown, self._written = 0, 0, -seconds

    def set_total(self, total: int) -> None:
        """Set how many trials the run has; called once, before the first row."""
        self._total = total

    def add_row(self, row: Mapping[str, Any]) -> None:
        """Add a row that was committed, and write the page if it is due."""
        self._rows.append(_cell_texts(row))
        self.write_if_due()

    def write_if_due(self) -> None:
        """Write the page if rows are new and the last one is old enough."""
        if not self._wanted or len(self._rows) == self._shown or self._clock() - self._written < self._seconds:
            return

        page = render_page(
            "live.html.j2", title=self._title, rows=self._rows, total=self._total, seconds=round(self._seconds)
        )
        replace(self._path, page.encode())
        self._shown, self._written = len(self._rows), self._clock()


def _cell_texts(row: Mapping[str, Any]) -> dict[str, str]:
    def figure(name: str, times: float = 1.0) -> str:
        value = row.get(name)
        return "–" if value is None else f"{value * times:.3g}"

    verdict = row["verdict"] if row["verdict"] == "VALID" else f"{row['verdict']}: {row['reasons']}"
    return {
        **{name: str(row[name]) for name in ("network", "method", "steps")},
        "fid": figure("fid"),
        "latency": figure("latency_seconds", 1e3),
        "speedup": figure("speedup"),
        "verdict": verdict,
    }
