"""Which display a run gets, what it shows there and when, and that the terminal is as before afterwards."""

from __future__ import annotations

import io
import os
import re
import signal
import sys
import types
from collections.abc import Iterator
from typing import Any

import pytest
from kit import plan_kit
from kit.screen_kit import ROW, FakeClock, line_screen, recorded_console, unit
from rich.console import Console

from harness.errors import Terminated
from harness.screen import displays
from harness.screen.displays import LineDisplay, NotebookDisplay, Silence, TerminalDisplay, choose_display
from harness.screen.run_progress import RunProgress
from harness.screen.run_screen import Screen
from harness.specs.limits import HEARTBEAT_SECONDS, PHASE_SECONDS
from harness.task import Progress


def progress() -> RunProgress:
    return RunProgress("quick", FakeClock())


def chosen(quiet: bool | None, **options: Any) -> type:
    return type(choose_display(progress(), quiet, Console(file=io.StringIO(), **options)))


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Stand in for IPython; return what it was given to show, first and later."""
    outputs: list[Any] = []

    class Handle:
        def update(self, output: Any) -> None:
            outputs.append(output)

    def display(output: Any, display_id: bool) -> Handle:
        assert display_id
        outputs.append(output)
        return Handle()

    module = types.ModuleType("IPython.display")
    module.display = display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", types.ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    return outputs


@pytest.mark.usefixtures("shown")
def test_a_terminal_is_live_a_notebook_has_a_bar_and_all_else_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert chosen(False, force_terminal=True) is TerminalDisplay
    assert chosen(False, force_terminal=False) is LineDisplay
    assert chosen(False, force_jupyter=True) is NotebookDisplay
    assert chosen(None, force_jupyter=True) is NotebookDisplay  # by default a bar in a notebook
    assert chosen(None, force_terminal=True) is Silence  # and nothing in a script
    assert chosen(True, force_terminal=True) is Silence
    assert chosen(True, force_jupyter=True) is Silence
    monkeypatch.setenv("TERM", "dumb")
    assert chosen(False, force_terminal=True) is LineDisplay


def test_a_pipe_is_no_terminal_whatever_the_environment_forces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert not displays.make_console().is_terminal


def test_a_row_is_a_line_with_its_figures() -> None:
    screen, file = line_screen(FakeClock())
    with screen:
        screen.on_start(21, 2, 40)
        screen.on_row(plan_kit.last(), ROW)
        screen.on_row(plan_kit.last(), {**ROW, "verdict": "INVALID", "reasons": "no-fid: too few"})
    assert file.getvalue().splitlines()[2:] == [
        "[ 3/21] analytic:ddim-3  FID 20 ± 1.9        12.3 ms  1.02x tie  FID better",
        "[ 4/21] analytic:ddim-3  INVALID: no-fid: too few",
    ]


def test_a_heartbeat_comes_when_nothing_was_said_for_half_a_minute() -> None:
    clock, one = FakeClock(), unit()
    screen, file = line_screen(clock)
    with screen:
        screen.on_start(9, 0, 40)
        screen.watch(lambda: {"sample": 30}, lambda: 2)
        for _ in range(10):
            screen.on_unit_start(one)
            clock.now += 3.0
            screen.on_unit_end(one)
            screen.on_tick()
        assert len(file.getvalue().splitlines()) == 3  # two sentences, and a heartbeat after 30 seconds
        screen.on_unit_start(one)
        screen.on_progress(one, Progress(3, 4, "images"))
        clock.now += HEARTBEAT_SECONDS - 1
        screen.on_tick()
        assert len(file.getvalue().splitlines()) == 3
        clock.now += 1
        screen.on_tick()
        screen.on_tick()
        *_, beat = file.getvalue().splitlines()
    assert len(file.getvalue().splitlines()) == 4
    assert re.fullmatch(
        r"\d\d:\d\d trials 0/9 · tasks 10/40 · left \d:\d\d · sampling analytic:ddim-2 \[0, 50\) 75 %", beat
    )


def test_what_lasts_before_the_first_trial_is_said_once_and_beats_too() -> None:
    clock = FakeClock()
    screen, file = line_screen(clock)
    with screen:
        screen.begin("importing torch")
        clock.now += PHASE_SECONDS / 2
        screen.begin("starting Ray on this machine")  # the first one was too short to name
        for _ in range(int(2 * HEARTBEAT_SECONDS)):
            clock.now += 1.0
            screen.display.draw()
    named, first, *later = file.getvalue().splitlines()
    assert named == "starting Ray on this machine"
    assert re.fullmatch(r"\d\d:\d\d starting Ray on this machine \(\d+ s\)", first)
    assert len(later) <= 1


def test_a_thread_of_its_own_beats_while_the_driver_waits() -> None:
    made = progress()
    file = io.StringIO()
    made.begin_phase("starting Ray")
    with LineDisplay(made, file, watch_seconds=0.001) as display:
        made.clock.now += PHASE_SECONDS  # type: ignore[attr-defined]
        until = 1000
        while not file.getvalue() and until:
            display._closed.wait(0.005)
            until -= 1
    assert file.getvalue() == "starting Ray\n"


def test_a_closed_pipe_does_not_end_a_run() -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError(32, "Broken pipe")

    with LineDisplay(progress(), Gone(), watch_seconds=None) as display:
        display.show("a sentence")


def terminal(width: int = 80) -> tuple[Screen, io.StringIO]:
    console = recorded_console(width, color_system=None)
    assert isinstance(console.file, io.StringIO)
    return Screen(
        "quick", display=lambda made: TerminalDisplay(made, console, draw_seconds=None), clock=FakeClock()
    ), console.file


HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"


@pytest.mark.parametrize("width", [80, 160])
def test_a_terminal_shows_rows_above_and_has_its_cursor_back_at_the_end(width: int) -> None:
    screen, file = terminal(width)
    with screen:
        assert HIDE in file.getvalue()
        screen.on_start(2, 0, 4)
        screen.on_row(plan_kit.last(), ROW)
    text = file.getvalue()
    assert text.rindex(SHOW) > text.rindex(HIDE)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text.replace("\r", "\n"))
    assert "[1/2] analytic:ddim-3" in plain
    assert ("FID better" if width == 160 else "better") in plain
    assert all(len(line) <= width for line in plain.splitlines())


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("a bug"), Terminated(143)])
def test_a_terminal_has_its_cursor_back_whatever_ends_the_run(error: BaseException) -> None:
    screen, file = terminal()
    with pytest.raises(type(error)), screen:
        raise error
    assert file.getvalue().rindex(SHOW) > file.getvalue().rindex(HIDE)


@pytest.fixture
def handler_of_sigterm() -> Iterator[None]:
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("handler_of_sigterm")
def test_a_signal_before_the_folder_is_held_restores_the_terminal_too() -> None:
    screen, file = terminal()
    with pytest.raises(Terminated), screen:
        os.kill(os.getpid(), signal.SIGTERM)
    assert file.getvalue().rindex(SHOW) > file.getvalue().rindex(HIDE)


def test_nothing_is_drawn_while_a_unit_runs_in_this_process() -> None:
    console = recorded_console(80)
    assert isinstance(console.file, io.StringIO)
    made = RunProgress("quick", FakeClock(), shares_process=True)
    made.start_unit(unit("time"))
    with TerminalDisplay(made, console, draw_seconds=0.001) as display:
        drawn = console.file.tell()
        display._closed.wait(0.05)
        assert console.file.tell() == drawn
        made.end_unit(unit("time"))
        made.clock.now += 1.0  # type: ignore[attr-defined]
        display.draw()
        assert console.file.tell() > drawn


def test_a_notebook_draws_one_output_anew(shown: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    clock = FakeClock()

    def bar(made: RunProgress) -> displays.Display:
        return choose_display(made, None, Console(file=io.StringIO(), force_jupyter=True))

    with Screen("quick", display=bar, clock=clock) as screen:
        assert len(shown) == 1
        screen.on_start(9, 0, 40)
        screen.on_tick()
        assert len(shown) == 1  # too soon
        clock.now += 1.0
        screen.on_tick()
        assert len(shown) == 2
        screen.on_row(plan_kit.last(), ROW)
        assert len(shown) == 3
        screen.display.show("a warning", is_warning=True)
    html = shown[-1]._repr_html_()
    assert "trials 1/9" in html
    assert html.startswith("<pre")
    assert "<script" not in html
    assert capsys.readouterr().err == "a warning\n"  # rows and sentences stay in the bar
