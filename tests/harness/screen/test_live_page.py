"""The page of a run: there before the first row, written now and then, never in place of a whole report."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from kit import plan_kit
from kit.screen_kit import ROW, FakeClock, line_screen
from kit.toys import CountingPool, suite_file, trial

import harness
from harness.errors import Terminated
from harness.report.live import MARK, PAGE, LiveReport
from harness.screen.opening import announce
from harness.screen.run_screen import Screen
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


def shown_page(folder: Path) -> tuple[Screen, LiveReport]:
    clock = FakeClock()
    screen, _ = line_screen(clock)
    page = page_in(folder, clock)
    screen.show_page(page)
    return screen, page


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("a bug"), Terminated(143)])
def test_a_run_that_ends_early_leaves_a_page_that_says_so_and_refreshes_no_more(
    tmp_path: Path, error: BaseException
) -> None:
    screen, page = shown_page(tmp_path)
    screen.open_run(["It measures 9 trials.", "It ends at 23:59."], [], 130.0)
    page.set_progress(1, 9, 130.0, ["timing unet-8:ddim-5 40 %"])
    page.add_row(ROW, "FID better")
    assert "min</b> left" in (tmp_path / PAGE).read_text(encoding="utf-8")
    with pytest.raises(type(error)), screen:
        raise error

    text = (tmp_path / PAGE).read_text(encoding="utf-8")
    assert "Stopped at 22:31:05; run again to go on." in text
    assert "<b>1</b> of 9 trials" in text
    assert "FID better" in text
    assert "It measures 9 trials." in text
    for gone in ('http-equiv="refresh"', "min</b> left", "timing unet-8", "23:59", "reads itself anew"):
        assert gone not in text


def test_a_run_that_ends_well_is_not_said_to_be_stopped(tmp_path: Path) -> None:
    screen, page = shown_page(tmp_path)
    with screen:
        page.begin(["It measures."])
    assert "Stopped" not in (tmp_path / PAGE).read_text(encoding="utf-8")


@pytest.mark.parametrize("is_begun", [True, False])
def test_what_others_wrote_stays_where_a_run_ends_early(tmp_path: Path, is_begun: bool) -> None:
    """A whole report that is there by then, or the page of a run that holds the folder."""
    screen, page = shown_page(tmp_path)
    if is_begun:
        page.begin(["It measures."])
    (tmp_path / PAGE).write_text("another's")
    with pytest.raises(ValueError, match="a bug"), screen:
        raise ValueError("a bug")
    assert (tmp_path / PAGE).read_text() == "another's"


def test_the_page_that_is_gone_hides_no_error(tmp_path: Path) -> None:
    screen, page = shown_page(tmp_path)
    page.begin(["It measures."])
    (tmp_path / PAGE).unlink()
    with pytest.raises(ValueError, match="a bug"), screen:
        raise ValueError("a bug")
    assert not (tmp_path / PAGE).exists()


@pytest.mark.parametrize("has_report", [True, False])
def test_the_screen_knows_whether_the_page_is_live(tmp_path: Path, has_report: bool) -> None:
    if has_report:
        (tmp_path / MARK).write_text("made")
    screen, page = shown_page(tmp_path)
    assert screen.progress.report_is_live == (not has_report)
    said: list[str] = []
    screen.open_run = lambda sentences, *_: said.extend(sentences)  # type: ignore[method-assign]
    announce(screen, plan_kit.plan(), set(), tmp_path)
    where = "of earlier rows stays there until the end" if has_report else "is there already and refreshes itself"
    assert said[-1] == f"The report {where}: {page.path}"


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
    assert f"is there already and refreshes itself: {tmp_path / 'toy' / PAGE}" in pool.first_page
