"""The page of a run that goes on: the rows so far, without waiting for figures, which would disturb what is timed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from harness.report.page import render_page
from harness.storage.disk import replace

PAGE, MARK = "report.html", ".report"
"""The page, and what says that it is the whole report."""


class LiveReport:
    """Writes report.html from the first row on, where no whole report of earlier rows stands."""

    def __init__(self, folder: Path, title: str, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        """`seconds`: the page is written, and read by a browser, at most this often."""
        self._path, self._title = folder / PAGE, title
        self._seconds, self._clock = seconds, clock
        self._wanted = not (folder / MARK).exists()
        self._rows: list[dict[str, str]] = []
        self._total, self._shown, self._written = 0, 0, -seconds

    def begin(self, total: int) -> None:
        """Note how many trials there are in all."""
        self._total = total

    def add(self, row: Mapping[str, Any]) -> None:
        """Take in a row that was committed."""
        self._rows.append(_shown(row))
        self.tick()

    def tick(self) -> None:
        """Write the page if rows are new and the last one is old enough."""
        if not self._wanted or len(self._rows) == self._shown or self._clock() - self._written < self._seconds:
            return
        page = render_page(
            "live.html.j2", title=self._title, rows=self._rows, total=self._total, seconds=round(self._seconds)
        )
        replace(self._path, page.encode())
        self._shown, self._written = len(self._rows), self._clock()


def _shown(row: Mapping[str, Any]) -> dict[str, str]:
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
