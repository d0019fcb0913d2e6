"""A few threads for calls that block, so that the driver's thread does not."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn, TypeVar

T = TypeVar("T")


class Background:
    """Runs jobs in daemon threads.

    The callback of each runs in the driver's thread, within `finish`.
    """

    def __init__(self, threads: int = 4) -> None:
        self._most = threads
        self._threads = 0
        self._unfinished = 0
        self._jobs: queue.SimpleQueue[tuple[Callable[[], Any], Callable[[Any], None]] | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()

    @property
    def busy(self) -> bool:
        """Tell whether a submitted job has not finished."""
        return self._unfinished > 0

    def submit(self, job: Callable[[], T], then: Callable[[T], None]) -> None:
        """Run a job in a thread and pass its result to `then`. `finish` raises its exception."""
        self._unfinished += 1
        if self._threads < min(self._most, self._unfinished):
            self._threads += 1
            threading.Thread(target=self._work, name="pool-background", daemon=True).start()
        self._jobs.put((job, then))

    def finish(self, seconds: float = 0.0) -> None:
        """Run the callbacks of ended jobs; if there are none, wait at most `seconds` for one."""
        while self._unfinished:
            try:
                callback = self._done.get(timeout=seconds) if seconds > 0 else self._done.get_nowait()
            except queue.Empty:
                return
            seconds = 0.0
            self._unfinished -= 1
            callback()

    def close(self) -> None:
        """Let the threads end after the submitted jobs."""
        for _ in range(self._threads):
            self._jobs.put(None)

    def _work(self) -> None:
        while (item := self._jobs.get()) is not None:
            job, then = item
            try:
                self._done.put(partial(then, job()))
            except BaseException as error:
                self._done.put(partial(_raise, error))


def _raise(error: BaseException) -> NoReturn:
    raise error
