"""Signals, in one place: what ends a process also releases its locks, and a run may end politely first.

Ctrl-C leaves with 130, SIGTERM with 143, SIGHUP with 129: 128 and the signal's number. Handlers are those of the main
thread; elsewhere, as in a notebook's thread, nothing is changed.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType

from harness.errors import Terminated

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SILENT = (signal.SIGTERM, signal.SIGHUP)
"""Those that would end the process without a word."""
_Handler = Callable[[int, FrameType | None], None]


@dataclass
class Stop:
    """Whether a run was asked to stop, and by which signal."""

    signal: int | None = None

    def leave(self) -> None:
        """Raise what ends the process by the signal that asked; return if none did."""
        if self.signal is not None:
            raise ending(self.signal)


def ending(number: int) -> BaseException:
    """Return what is to be raised for a signal: KeyboardInterrupt, or Terminated with its exit code."""
    return KeyboardInterrupt() if number == signal.SIGINT else Terminated(128 + number)


@contextmanager
def stopping_politely(say: Callable[[str], None]) -> Iterator[Stop]:
    """Yield a Stop that the first signal sets, with a sentence; a second signal ends the process at once."""
    stop = Stop()

    def note(number: int, frame: FrameType | None) -> None:
        if stop.signal is not None:
            raise ending(number)
        stop.signal = number
        with suppress(OSError):  # of a terminal that was closed
            say("stopping; what is finished is kept (once more to stop at once)")

    ignored = [number for number in _SILENT if signal.getsignal(number) == signal.SIG_IGN]  # as nohup does
    with handled(note, [number for number in ENDING if number not in ignored]):
        yield stop


@contextmanager
def ending_at_once() -> Iterator[None]:
    """Let signals that would end the process silently raise Terminated, as Ctrl-C raises, where nobody handles them."""
    with handled(_raise, [number for number in _SILENT if signal.getsignal(number) == signal.SIG_DFL]):
        yield


@contextmanager
def kept() -> Iterator[None]:
    """Put back the handlers that a library replaces, as Ray's start does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:  # it was not set from Python
                signal.signal(number, handler)


@contextmanager
def handled(handler: _Handler, numbers: Iterable[signal.Signals]) -> Iterator[None]:
    """Let a handler take these signals for a while; one that was replaced meanwhile is left alone afterwards."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, former in before.items():
            if signal.getsignal(number) is handler:
                signal.signal(number, former)


def _raise(number: int, frame: FrameType | None) -> None:
    raise ending(number)
