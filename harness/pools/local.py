"""The pool within this process: one worker, for tests and for work too small for a cluster."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from harness.errors import Terminated
from harness.measure.device import device_name
from harness.pools.worker import Worker
from harness.task import Event, Failure, Inputs, Ranks, Result, TaskEvent, Unit

_LOG = logging.getLogger("oneclock.pools.local")


class LocalPool:
    """One worker on one host.

    `poll` runs one step of its unit, so it blocks as long as that takes.
    """

    def __init__(self) -> None:
        kind = "cuda" if torch.cuda.is_available() else "cpu"
        self._worker = Worker(kind)
        self.device_name = device_name(self._worker.device)
        self.device_class = f"{kind}:{self.device_name}"
        self._running: tuple[Unit, Iterator[Event]] | None = None
        self._reserved = False

    def put(self, value: Any) -> Any:
        return value

    def size(self) -> int:
        return 1

    def hosts(self) -> int:
        return 1

    def reserve(self, hosts: int) -> None:
        self._reserved = hosts > 0

    def idle(self, exclusive: bool = False) -> int:
        return 1 if self._running is None and exclusive == self._reserved else 0

    def submit(self, unit: Unit, inputs: Mapping[str, Any]) -> None:
        _LOG.debug("%s starts in this process", unit.label)
        ranks = Ranks(deadline_seconds=unit.task.deadline_seconds)
        self._running = unit, self._worker.run(unit.task.spec, Inputs(inputs), unit.span, ranks)

    def drop(self, unit: Unit) -> None:
        if self._running is not None and self._running[0].key == unit.key:
            self._running = None

    def poll(self, seconds: float) -> list[TaskEvent]:
        """Run the unit up to its next event and return that."""
        if self._running is None:
            return []
        unit, events = self._running

        # one step; whatever a plug-in raises ends its unit and not the run
        try:
            event = next(events)
        except StopIteration:
            self._running = None
            return [TaskEvent(unit, Failure("no-result", f"{unit.label} ended without a result"))]
        except Terminated:
            raise
        except (Exception, SystemExit) as error:
            self._running = None
            return [TaskEvent(unit, failure_of(error))]

        if isinstance(event, Result):
            self._running = None
        return [TaskEvent(unit, event, ref=event if isinstance(event, Result) else None)]

    def close(self) -> None:
        self._running = None


def failure_of(error: BaseException) -> Failure:
    """Return the kind and sentence of an exception that a unit raised."""
    if isinstance(error, torch.cuda.OutOfMemoryError | MemoryError):
        return Failure("out-of-memory", _one_line(error), lost=False)
    return Failure(type(error).__name__, _one_line(error), lost=False)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:500] or type(error).__name__
