"""The live part of a terminal fits every width and height, and shows what a person waits for."""

from __future__ import annotations

from typing import Any

import pytest
from kit.screen_kit import ROW, FakeClock, drawn_lines, unit

from harness.screen.live_view import LiveView
from harness.screen.row_words import describe_row
from harness.screen.run_progress import FRONT_ROWS, RunProgress
from harness.task import Progress

LONG = "uvit-8:early-exit(reverse=True,schedule=steep)/dpmpp-2m@few-step-10"


def running(rows: int = 8, total: int = 21, **changes: Any) -> RunProgress:
    """Return the progress of a run with rows, each slower and better than the one before."""
    made = RunProgress("quick", FakeClock())
    made.trials.total, made.tasks.total, made.devices, made.report = total, 167, 2, "results/quick/report.html"
    for number in range(rows):
        row = {**ROW, "fid": 20.0 - number, "latency_seconds": 0.01 + 0.001 * number, **changes}
        made.add_row(describe_row(f"{LONG}{number}", row), row)
    made.tasks.done = 51
    made.start_unit(unit("sample"))
    made.start_unit(unit("time"))
    made.note_progress(unit("time"), Progress(1, 4))
    return made


@pytest.mark.parametrize("width", [20, 40, 80, 160])
def test_no_line_is_longer_than_the_terminal_is_wide(width: int) -> None:
    made = running()
    made.begin_phase("starting Ray on this machine, which takes a while where the disk is slow")
    assert all(len(line) <= width for line in drawn_lines(LiveView(made), width))


@pytest.mark.parametrize("height", [4, 10, 40])
def test_it_leaves_a_line_of_the_terminal_free(height: int) -> None:
    assert len(drawn_lines(LiveView(running()), 80, height)) <= height - 1


@pytest.mark.parametrize("width", [80, 160])
def test_it_shows_counts_devices_tasks_by_name_the_time_left_and_the_front(width: int) -> None:
    made = running()
    made.estimate = 130.0
    made.update_time_left({"time": 10})
    text = "\n".join(drawn_lines(LiveView(made), width))
    for wanted in (
        "trials 8/21", "tasks 51/167", "left 2:10", "devices busy 2 of 2", "sampling analytic:ddim-2 [0, 50)",
        "timing analytic:ddim-2", "25 %", "front so far", "FID 13 ± 1.9", "Ctrl-C is safe · results/quick/report.html",
    ):  # fmt: skip
        assert wanted in text


def test_before_the_first_trial_it_shows_what_is_done_and_for_how_long() -> None:
    made = RunProgress("quick", FakeClock())
    made.begin_phase("importing torch")
    made.clock.now += 7.0  # type: ignore[attr-defined]
    _, head, phase, _ = drawn_lines(LiveView(made), 80)
    assert head.endswith("quick 0:07")
    assert phase == "  importing torch (7 s)"


def test_something_moves_four_times_a_second() -> None:
    made = RunProgress("quick", FakeClock())
    first = drawn_lines(LiveView(made), 80)
    made.clock.now += 0.25  # type: ignore[attr-defined]
    assert drawn_lines(LiveView(made), 80) != first


def test_of_many_units_only_the_number_is_shown_by_kind() -> None:
    made = running()
    one = made.running[unit("sample").key]
    made.running = {str(number): one for number in range(60)}
    lines = drawn_lines(LiveView(made), 80)
    assert "    sampling 60" in lines
    assert sum("sampling" in line for line in lines) == 1


def test_the_front_holds_the_rows_that_no_other_beats_at_most_five() -> None:
    made = running(rows=0)
    figures = [(20.0, 0.010), (21.0, 0.012), (10.0, 0.020), (9.0, 0.019), (5.0, 0.030), (5.0, 0.040)]
    for number, (fid, seconds) in enumerate(figures):
        row = {**ROW, "fid": fid, "latency_seconds": seconds}
        made.add_row(describe_row(str(number), row), row)
    assert [one.words.name for one in made.front()] == ["0", "3", "4"]
    invalid = {**ROW, "fid": 0.1, "latency_seconds": 0.001, "verdict": "INVALID"}
    made.add_row(describe_row("cheater", invalid), invalid)
    assert [one.words.name for one in made.front()] == ["0", "3", "4"]
    other = {**ROW, "fid": 50.0, "latency_seconds": 1.0, "dataset": "another"}
    made.add_row(describe_row("other", other), other)
    assert [one.words.name for one in made.front()] == ["other"]  # data sets do not compete
    assert len(running(rows=20).front()) == FRONT_ROWS
