"""Signal handling: a signal that ends a process releases its locks; a run may finish first.

Exit codes are 128 plus the signal's number: 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP. Only
the main thread can set handlers; in any other, such as a notebook's thread, nothing is changed.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from harness.errors import Terminated

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SILENT = (signal.SIGTERM, signal.SIGHUP)
"""Signals that by default end the process without an exception."""
_Handler = Callable[[int, FrameType | None], None]
_LOG = logging.getLogger("oneclock.signals")


@dataclass
class StopRequest:
    """Whether a signal requested a stop, and which.

    The handler sets it; the driver polls it between events.
    """

    signal: int | None = None

    def raise_if_set(self) -> None:
        """Raise the exception that ends the process by the received signal.

        Return if there was none.
        """
        if self.signal is not None:
            raise signal_exception(self.signal)


class StepInterrupted(BaseException):
    """The first signal came within `interruptible_step`; no plug-in's `except Exception` takes it."""


_STEP = threading.local()
"""`active` in the thread that is within `interruptible_step`."""


@contextmanager
def interruptible_step() -> Iterator[None]:
    """Let the first signal of `graceful_shutdown` raise StepInterrupted within the block, besides being noted.

    For work in the driver's own process, whose steps may be long.
    """
    _STEP.active = True
    try:
        yield
    finally:
        _STEP.active = False


def signal_exception(number: int) -> BaseException:
    """Return the exception for a signal: KeyboardInterrupt, or Terminated with its exit code."""
    return KeyboardInterrupt() if number == signal.SIGINT else Terminated(128 + number)


@contextmanager
def graceful_shutdown() -> Iterator[StopRequest]:
    """Yield a StopRequest that the first signal sets, and log it.

    A second one ends the process at once.
    """
    stop = StopRequest()

    def note(number: int, frame: FrameType | None) -> None:
        if stop.signal is not None:
            raise signal_exception(number)
        stop.signal = number
        _LOG.info("stopping; what is finished is kept (once more to stop at once)")
        if getattr(_STEP, "active", False):
            raise StepInterrupted

    ignored = [number for number in _SILENT if signal.getsignal(number) == signal.SIG_IGN]  # as nohup does
    with signal_handler(note, [number for number in ENDING if number not in ignored]):
        yield stop


@contextmanager
def terminate_on_signal() -> Iterator[None]:
    """Make SIGTERM and SIGHUP raise Terminated where they have no handler, as Ctrl-C raises."""
    with signal_handler(_raise, [number for number in _SILENT if signal.getsignal(number) == signal.SIG_DFL]):
        yield


@contextmanager
def restored_handlers() -> Iterator[None]:
    """Restore the handlers that a library replaces, as Ray's start does."""
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
def signal_handler(handler: _Handler, numbers: Iterable[signal.Signals]) -> Iterator[None]:
    """Set a handler for these signals within the block.

    One that was replaced meanwhile is not restored.
    """
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
    raise signal_exception(number)
