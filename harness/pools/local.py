"""The pool in this very process: one worker, for tests and for work too small for a cluster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from harness.device import device_name
from harness.errors import Terminated
from harness.pools.worker import Worker
from harness.task import Event, Failure, Inputs, Ranks, Result, Task, TaskEvent


class LocalPool:
    """One worker, run step by step by whoever waits."""

    def __init__(self) -> None:
        kind = "cuda" if torch.cuda.is_available() else "cpu"
        self._worker = Worker(kind)
        self.device_name = device_name(self._worker.device)
        self.device_class = f"{kind}:{self.device_name}"
        self._running: tuple[Task, Iterator[Event]] | None = None

    def put(self, value: Any) -> Any:
        return value

    def idle(self, exclusive: bool = False) -> int:
        return 0 if self._running else 1

    def size(self) -> int:
        return 1

    def start(self, task: Task, inputs: Mapping[str, Any]) -> None:
        ranks = Ranks(deadline_seconds=task.deadline_seconds)
        self._running = task, self._worker.run(task.spec, Inputs(inputs), task.span, ranks)

    def wait(self, seconds: float) -> TaskEvent | None:
        if self._running is None:
            return None
        task, events = self._running
        try:
            event = next(events)
        except StopIteration:
            self._running = None
            return TaskEvent(task, Failure("no-result", f"{task.label} ended without a result"))
        except Terminated:
            raise
        except (Exception, SystemExit) as error:  # a plug-in that calls exit() ends its task, not the run
            self._running = None
            return TaskEvent(task, failure_of(error))
        if isinstance(event, Result):
            self._running = None
        return TaskEvent(task, event, handle=event if isinstance(event, Result) else None)

    def close(self) -> None:
        self._running = None


def failure_of(error: BaseException) -> Failure:
    """Return the kind and sentence of an exception that a task raised."""
    if isinstance(error, torch.cuda.OutOfMemoryError | MemoryError):
        return Failure("out-of-memory", _one_line(error), lost=False)
    return Failure(type(error).__name__, _one_line(error), lost=False)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:500] or type(error).__name__
