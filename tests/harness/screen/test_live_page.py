"""The page of a run: there before the first row, written now and then, never in place of a whole report."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from kit.screen_kit import ROW, FakeClock
from kit.toys import CountingPool, suite_file, trial

import harness
from harness.report.live import PAGE, LiveReport
from harness.task import Unit


def page_in(folder: Path, clock: FakeClock, title: str = "digits & more") -> LiveReport:
    return LiveReport(folder, title, 15.0, clock, lambda: datetime(2026, 11, 27, 22, 31, 5))


def test_the_page_is_there_before_the_first_row(tmp_path: Path) -> None:
    page = page_in(tmp_path, FakeClock())
    page.begin(["It measures <9> trials.", "Ctrl-C is safe."])
    text = (tmp_path / PAGE).read_text(encoding="utf-8")
    assert "digits &amp; more" in text
    assert "It measures &lt;9&gt; trials. Ctrl-C is safe." in text
    assert '<meta http-equiv="refresh" content="15">' in text
    assert "22:31:05" in text
    assert "<table>" not in text


def test_the_first_row_is_written_at_once_and_later_ones_when_the_page_is_old_enough(tmp_path: Path) -> None:
    clock = FakeClock()
    page = page_in(tmp_path, clock)
    page.begin([])
    page.set_progress(1, 9, 130.0, ["timing unet-8:ddim-5 40 %"])
    page.add_row(ROW, "FID better")
    first = (tmp_path / PAGE).read_text(encoding="utf-8")
    assert "<td>20</td><td>12.3</td><td>1.02</td>" in first
    assert "FID better" in first
    assert "<b>1</b> of 9 trials" in first
    assert "about <b>2 min</b> left, until 22:33" in first
    assert "timing unet-8:ddim-5 40 %" in first

    page.set_progress(2, 9, None, [])
    page.add_row({**ROW, "steps": 7, "verdict": "INVALID", "reasons": "no-fid: too few"})
    assert (tmp_path / PAGE).read_text(encoding="utf-8") == first
    clock.now += 15.0
    page.set_progress(2, 9, None, [])
    second = (tmp_path / PAGE).read_text(encoding="utf-8")
    assert "<b>2</b> of 9 trials" in second
    assert "INVALID: no-fid: too few" in second
    assert second.index("<td>7</td>") < second.index("<td>5</td>")  # the latest first
    assert "left, until" not in second


def test_a_whole_report_is_not_replaced_by_a_page_of_some_rows(tmp_path: Path) -> None:
    (tmp_path / ".report").write_text("made")
    (tmp_path / PAGE).write_text("whole")
    clock = FakeClock()
    page = page_in(tmp_path, clock)
    page.begin(["It measures."])
    page.add_row(ROW)
    clock.now += 60.0
    page.set_progress(1, 2, None, [])
    assert (tmp_path / PAGE).read_text() == "whole"


class Watching(CountingPool):
    """Notes how many units had been started when the first row was there, and what the page was when none had."""

    folder: Path
    before_first_row: int | None = None
    first_page: str | None = None

    def submit(self, unit: Unit, inputs: Any) -> None:
        page = self.folder / "toy" / PAGE
        if not self.started and page.is_file():
            self.first_page = page.read_text(encoding="utf-8")
        if self.before_first_row is None and any((self.folder / "toy" / "log").glob("*.json")):
            self.before_first_row = len(self.started)
        super().submit(unit, inputs)


def test_the_first_row_is_committed_before_a_tenth_of_the_tasks_are_done(tmp_path: Path) -> None:
    pool = Watching()
    pool.folder = tmp_path
    trials = trial(solver="heun", steps=2) + "".join(trial(steps=steps) for steps in range(3, 30))
    harness.run(suite_file(tmp_path, trials), pool=lambda: pool, results=tmp_path, report=False)
    assert pool.before_first_row is not None
    assert len(pool.started) > 80
    assert pool.before_first_row < len(pool.started) / 10
    assert not (tmp_path / "toy" / PAGE).exists()


def test_the_page_names_what_is_measured_before_any_task_starts(tmp_path: Path) -> None:
    pool = Watching()
    pool.folder = tmp_path
    harness.run(suite_file(tmp_path), pool=lambda: pool, results=tmp_path)
    assert pool.first_page is not None
    assert "toy measures 1 trial: 1 method on 1 network, 40 images of gaussian" in pool.first_page
    assert str(tmp_path / "toy" / PAGE) in pool.first_page
