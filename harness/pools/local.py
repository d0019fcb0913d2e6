"""The pool within this process: one worker, without Ray, for a laptop, a debugger, a CI job."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch

from harness.errors import Terminated, place_of
from harness.integrity.guard import TamperedError
from harness.measure.device_names import device_name, usable_device_type
from harness.pools.process_state import fresh_process_state
from harness.pools.worker import Worker, WorkingFolderGoneError
from harness.signals import StepInterrupted, interruptible_step
from harness.task import Event, Failure, Inputs, Ranks, Result, TaskEvent, Unit

_LOG = logging.getLogger("oneclock.pools.local")


@dataclass
class _Run:
    """A unit that runs, the events that it will yield, and when it is given up by the pool's clock."""

    unit: Unit
    events: Iterator[Event]
    deadline: float


class LocalPool:
    """One worker on one host, in the thread that makes it; `close` restores the settings of that thread's process.

    `poll` runs one step of its unit, so it blocks as long as that takes. The first signal that stops the run ends the
    step at once. A deadline is checked between steps only: what hangs in one cannot be killed here.
    """

    def __init__(self, raise_errors: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        """With `raise_errors` the exception of a unit leaves `poll`, as for a debugger; else it fails the unit."""
        kind = usable_device_type(torch.cuda.is_available())
        self._settings = ExitStack()
        self._settings.enter_context(fresh_process_state())
        self._worker = Worker(kind)
        self.device_name = device_name(self._worker.device)
        self.device_class = f"{kind}:{self.device_name}"

        self._raise_errors, self._clock = raise_errors, clock
        self._running: _Run | None = None
        self._reserved = False

    def put(self, value: Any) -> Any:
        return value

    def size(self) -> int:
        return 1

    def hosts(self) -> int:
        return 1

    def reserve(self, hosts: int, devices: int = 1) -> None:
        self._reserved = hosts > 0

    def idle(self, exclusive: bool = False) -> int:
        return 1 if self._running is None and exclusive == self._reserved else 0

    def has_loaded(self, networks: Sequence[str]) -> bool:
        return True

    def submit(self, unit: Unit, inputs: Mapping[str, Any]) -> None:
        _LOG.debug("%s starts in this process", unit.label)
        limit = unit.task.deadline_seconds
        events = self._worker.run(unit.task.spec, Inputs(inputs), unit.span, Ranks(deadline_seconds=limit))
        self._running = _Run(unit, events, self._clock() + limit)

    def drop(self, unit: Unit) -> None:
        if self._running is not None and self._running.unit.key == unit.key:
            self._end_unit()

    def poll(self, seconds: float) -> list[TaskEvent]:
        """Run the unit up to its next event and return that; nothing if a signal interrupts it."""
        if (run := self._running) is None:
            return []
        if self._clock() > run.deadline:
            self._end_unit()
            sentence = f"{run.unit.label} did not end within its deadline of {run.unit.task.deadline_seconds:g} s"
            return [TaskEvent(run.unit, Failure("timeout", sentence))]

        # one step; whatever a plug-in raises ends its unit and not the run
        try:
            with interruptible_step():
                event = next(run.events)
        except StepInterrupted:
            self._end_unit()
            return []
        except StopIteration:
            self._running = None
            return [TaskEvent(run.unit, Failure("no-result", f"{run.unit.label} ended without a result"))]

        # what it raised
        except Terminated:
            raise
        except (Exception, SystemExit) as error:
            self._running = None
            if self._raise_errors:
                raise
            _LOG.debug("%s raised %s", run.unit.label, type(error).__name__, exc_info=error)
            return [TaskEvent(run.unit, failure_of(error))]

        if isinstance(event, Result):
            self._end_unit()  # at once: a traceback may still hold it
        return [TaskEvent(run.unit, event, ref=event if isinstance(event, Result) else None)]

    def close(self) -> None:
        self._end_unit()
        self._settings.close()

    def _end_unit(self) -> None:
        """Stop the unit where it is; what it changed of the process is restored."""
        run, self._running = self._running, None
        if run is not None and isinstance(run.events, Generator):
            run.events.close()


def failure_of(error: BaseException) -> Failure:
    """Return the kind and sentence of an exception that a unit raised."""
    if isinstance(error, torch.cuda.OutOfMemoryError | MemoryError):
        return Failure("out-of-memory", _one_line(error), lost=False)
    if isinstance(error, TamperedError):
        return Failure("tampered", _one_line(error), lost=False)
    if isinstance(error, WorkingFolderGoneError):
        return Failure("folder-gone", _one_line(error), lost=False)
    return Failure(type(error).__name__, _one_line(error) + place_of(error), lost=False)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:500] or type(error).__name__
