"""The log of a run: what the loggers below `oneclock` record goes to the screen and to `log.txt`.

Outside a run these loggers have no handlers and no level; they propagate. A run adds its handlers
and removes them when it ends. Handlers that a user has set above receive what they would receive
without a run.
"""

from __future__ import annotations

import errno
import logging
import os
import platform
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path

from harness.storage.disk import DISK
from harness.version import VERSION

LOG_FILE = "log.txt"
"""In the results folder of a suite. It decides nothing, and no command reads it."""
LOG_FILE_BYTES = 5_000_000
"""From this size on `log.txt` becomes `log.txt.1`, in place of an earlier one."""
_LOGGER = logging.getLogger("oneclock")
_LOG = logging.getLogger("oneclock.storage.run_log")


@contextmanager
def logging_to_file(folder: Path) -> Iterator[None]:
    """Append what this thread logs, at any level, to the log of a results folder.

    Hold its lock meanwhile.
    """
    with handler_attached(LogFile(folder)):
        _LOG.debug("run begins: oneclock %s, Python %s", VERSION, platform.python_version())
        try:
            yield
        except BaseException as error:
            _LOG.debug("run ended by %s", type(error).__name__, exc_info=isinstance(error, Exception))
            raise
        _LOG.debug("run ended")


@contextmanager
def handler_attached(handler: logging.Handler) -> Iterator[None]:
    """Give a handler what this thread logs below `oneclock`; close it afterwards."""
    thread = threading.get_ident()
    handler.addFilter(lambda record: record.thread in (None, thread))  # runs in other threads have their own
    _GATE.open()
    _LOGGER.addHandler(handler)
    try:
        yield
    finally:
        _LOGGER.removeHandler(handler)
        _GATE.close()
        handler.close()


class LogFile(RotatingFileHandler):
    """The log of one results folder.

    A full disk or a file that cannot be opened ends the log, never the run.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / LOG_FILE, maxBytes=LOG_FILE_BYTES, backupCount=1, encoding="utf-8", delay=True)
        self.setFormatter(_LineFormatter("%(asctime)s %(levelname)s %(message)s"))
        self._is_broken = False

    def emit(self, record: logging.LogRecord) -> None:
        if not self._is_broken:
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """Give up the file after an error of the disk; leave out the one line after any other."""
        error = sys.exc_info()[1]
        if isinstance(error, OSError) and not self._is_broken:
            self._is_broken = True
            reason = error.strerror or type(error).__name__
            _LOG.warning("%s cannot be written (%s); the run continues without it", self.baseFilename, reason)

    def close(self) -> None:
        with suppress(OSError):  # lines that a full disk did not take
            super().close()

    def _open(self) -> TextIOWrapper:
        """Open the file at its end.

        Like all of a store, it is never a link, a pipe or a device.
        """
        path = Path(self.baseFilename)
        if path.exists() and not path.is_file():
            raise OSError(errno.EINVAL, "not a regular file")
        return os.fdopen(DISK.append(path), "a", encoding="utf-8", errors="backslashreplace")


class _LineFormatter(logging.Formatter):
    """One line per record; dates are UTC in ISO 8601."""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


class _Gate:
    """Opens `oneclock` to all levels while a run has handlers there; restores it afterwards.

    Level and propagation are those of the user. A level that lets DEBUG through would send it to
    the user's handlers too, so they are served by `_Above` meanwhile.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._opened = 0
        self._level = logging.NOTSET
        self._above: logging.Handler | None = None

    def open(self) -> None:
        with self._lock:
            self._opened += 1
            if self._opened > 1:
                return

            # remember what the user has set
            self._level = _LOGGER.level
            self._above = _Above(_LOGGER.getEffectiveLevel()) if _LOGGER.propagate else None

            # let all records through, to our own handlers alone
            if self._above is not None:
                _LOGGER.addHandler(self._above)
                _LOGGER.propagate = False
            _LOGGER.setLevel(logging.DEBUG)

    def close(self) -> None:
        with self._lock:
            self._opened -= 1
            if self._opened:
                return
            _LOGGER.setLevel(self._level)
            if self._above is not None:
                _LOGGER.propagate = True
                _LOGGER.removeHandler(self._above)


class _Above(logging.Handler):
    """Replaces propagation during a run: passes records of the user's level to loggers above."""

    def emit(self, record: logging.LogRecord) -> None:
        parent = _LOGGER.parent
        if parent is not None and parent.hasHandlers():
            parent.callHandlers(record)


_GATE = _Gate()


class StderrHandler(logging.Handler):
    """Prints messages alone."""

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError):  # a terminal that was closed ends no work
            print(record.getMessage(), file=sys.stderr, flush=True)
