"""What a run tells where there is no terminal: a line per row, a heartbeat, and a page from the first row on."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from kit import plan_kit
from kit.toys import CountingPool, suite_file, trial

import harness
from harness.driver.progress import Screen
from harness.report.live import PAGE, LiveReport
from harness.specs.limits import HEARTBEAT_SECONDS
from harness.task import Progress, Unit

ROW: dict[str, Any] = {
    "network": "unet-8", "method": "ddim", "steps": 5, "fid": 20.04, "fid_low": 18.1, "fid_high": 22.0,
    "latency_seconds": 0.01234, "speedup": 1.0, "verdict": "VALID", "reasons": "",
}  # fmt: skip


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


def unit() -> Unit:
    made = plan_kit.plan()
    return next(task.unit(0) for task in made.tasks.values() if task.kind == "sample")


def test_a_row_is_a_line_with_its_figures(capsys: pytest.CaptureFixture[str]) -> None:
    planned = plan_kit.last()
    with Screen() as screen:
        screen.on_start(9, 2, 40)
        screen.on_row(planned, ROW)
        screen.on_row(planned, {**ROW, "verdict": "INVALID", "reasons": "no-fid: too few"})
    assert lines(capsys)[1:] == [
        "[3/9] analytic:ddim-3: FID 20 ± 1.9, 12.3 ms an image, 1.00x",
        "[4/9] analytic:ddim-3: INVALID: no-fid: too few",
    ]


def test_a_heartbeat_comes_when_nothing_was_said_for_half_a_minute(capsys: pytest.CaptureFixture[str]) -> None:
    clock, one = Clock(), unit()
    with Screen(clock=clock) as screen:
        screen.on_start(9, 0, 40)
        for _ in range(10):
            screen.on_progress(one, Progress(1, 4, "images"))
            screen.on_unit_end(one)
        screen.on_progress(one, Progress(3, 4, "images"))
        clock.now += HEARTBEAT_SECONDS - 1
        screen.on_tick()
        assert len(lines(capsys)) == 1
        clock.now += 1
        screen.on_tick()
        screen.on_tick()
        (beat,) = lines(capsys)
        assert re.fullmatch(
            r"\d\d:\d\d trials 0/9 · tasks 10/40 · left 1:30 · sample analytic:ddim-2 \[0, 50\) 75 %",
            beat,
        )


def test_the_page_is_there_from_the_first_row_and_written_now_and_then(tmp_path: Path) -> None:
    clock = Clock()
    page = LiveReport(tmp_path, "digits & more", 15.0, clock)
    page.set_total(9)
    page.write_if_due()
    assert not (tmp_path / PAGE).exists()
    page.add_row(ROW)
    first = (tmp_path / PAGE).read_text(encoding="utf-8")
    assert "digits &amp; more" in first
    assert "1 of 9 trials are measured" in first
    assert "<td>20</td><td>12.3</td><td>1</td><td>VALID</td>" in first
    assert 'http-equiv="refresh"' in first
    page.add_row(ROW)
    assert (tmp_path / PAGE).read_text(encoding="utf-8") == first
    clock.now += 15.0
    page.write_if_due()
    assert "2 of 9 trials" in (tmp_path / PAGE).read_text(encoding="utf-8")


def test_a_whole_report_is_not_replaced_by_a_page_of_some_rows(tmp_path: Path) -> None:
    (tmp_path / ".report").write_text("made")
    (tmp_path / PAGE).write_text("whole")
    page = LiveReport(tmp_path, "title", 15.0)
    page.set_total(2)
    page.add_row(ROW)
    assert (tmp_path / PAGE).read_text() == "whole"


class Watching(CountingPool):
    """Notes how many units had been started when the first row was there."""

    folder: Path
    before_first_row: int | None = None

    def submit(self, unit: Unit, inputs: Any) -> None:
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
