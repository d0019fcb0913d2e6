"""The first signal asks, the second ends; what was set before comes back, and libraries keep nothing for themselves."""

from __future__ import annotations

import os
import signal
import threading

import pytest
from kit.log_kit import Logged
from kit.screen_kit import recorded_console

from harness import signals
from harness.errors import Terminated
from harness.screen.displays import TerminalDisplay
from harness.screen.run_screen import Screen

ENDS = [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated), (signal.SIGHUP, Terminated)]


@pytest.fixture(autouse=True)
def handlers() -> None:
    """Every test leaves the handlers as it found them."""
    before = {number: signal.getsignal(number) for number in signals.ENDING}
    yield
    assert {number: signal.getsignal(number) for number in signals.ENDING} == before


@pytest.mark.parametrize(("number", "error"), ENDS)
def test_the_first_signal_asks_and_the_second_ends(
    number: signal.Signals, error: type[BaseException], logged: Logged
) -> None:
    with signals.graceful_shutdown() as stop:
        stop.raise_if_set()  # nothing was asked
        os.kill(os.getpid(), number)
        assert stop.signal == number
        assert logged.messages == ["stopping; what is finished is kept (once more to stop at once)"]
        with pytest.raises(error) as caught:
            os.kill(os.getpid(), number)
    if error is Terminated:
        assert caught.value.code == 128 + number
    with pytest.raises(error):
        stop.raise_if_set()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_would_end_silently_raises(number: signal.Signals) -> None:
    with pytest.raises(Terminated) as caught, signals.terminate_on_signal():
        os.kill(os.getpid(), number)
    assert caught.value.code == 128 + number


def test_a_handler_of_somebody_elses_stays() -> None:
    seen: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    try:
        with signals.terminate_on_signal():
            os.kill(os.getpid(), signal.SIGTERM)
        assert seen == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_what_is_ignored_from_outside_as_nohup_does_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals.graceful_shutdown() as stop, signals.terminate_on_signal():
            os.kill(os.getpid(), signal.SIGHUP)
            assert stop.signal is None
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_closed_terminal_is_a_polite_stop_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*words: object, **options: object) -> None:
        raise OSError(5, "Input/output error")

    console = recorded_console(80)
    with (
        Screen(display=lambda made: TerminalDisplay(made, console, draw_seconds=None)),
        signals.graceful_shutdown() as stop,
    ):
        monkeypatch.setattr(console, "print", gone)
        os.kill(os.getpid(), signal.SIGHUP)
        assert stop.signal == signal.SIGHUP


def test_what_a_library_replaces_is_put_back() -> None:
    with signals.graceful_shutdown() as stop:
        with signals.restored_handlers():
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.signal == signal.SIGTERM


def test_another_thread_changes_nothing() -> None:
    told: list[object] = []

    def work() -> None:
        before = signal.getsignal(signal.SIGTERM)
        with signals.graceful_shutdown(), signals.terminate_on_signal(), signals.restored_handlers():
            told.append(signal.getsignal(signal.SIGTERM) == before)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(10)
    assert told == [True]
