"""One part of a check as a process of its own: a part that crashes, hangs or spoils its device harms no other."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from harness.specs.limits import CHECK_STOP_SECONDS

_LAST_LINES = 15


class ChildEnd(BaseModel):
    """How a process ended."""

    model_config = ConfigDict(frozen=True)
    code: int
    """Its exit code; below 0 the signal that ended it."""
    seconds: float
    is_over_time: bool
    """Whether it was interrupted since its time was over."""
    last_lines: list[str]
    """The end of what it printed."""


class Child:
    """A process with its log file; it is the first of a session, so that its own children end with it."""

    def __init__(
        self, words: Sequence[str], log: Path, environment: Mapping[str, str], folder: Path | None = None
    ) -> None:
        """Start it, in a folder; what it prints is appended to the log."""
        log.parent.mkdir(parents=True, exist_ok=True)
        self._log, self._began = log, time.monotonic()
        with log.open("ab") as stream:
            self._process = subprocess.Popen(
                list(words),
                stdout=stream,
                stderr=stream,
                stdin=subprocess.DEVNULL,
                cwd=folder,
                env={**os.environ, **environment},
                start_new_session=True,
            )

    def wait(self, seconds: float) -> ChildEnd:
        """Wait so long at most, counted from its start, and interrupt it then; kill it where it goes on."""
        is_over_time = False
        try:
            self._process.wait(max(0.0, self._began + seconds - time.monotonic()))
        except subprocess.TimeoutExpired:
            is_over_time = True
        finally:
            self._end()
        return ChildEnd(
            code=self._process.returncode,
            seconds=time.monotonic() - self._began,
            is_over_time=is_over_time,
            last_lines=self._log.read_text(errors="replace").splitlines()[-_LAST_LINES:],
        )

    def _end(self) -> None:
        """Interrupt the process if it still runs, then kill what is left of its session."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(CHECK_STOP_SECONDS)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
