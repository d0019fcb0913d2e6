"""Units for a pool alone, without plan and driver: they wait, tell, fail or die as they are asked to."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import numpy as np

from harness.sampling.place import Place
from harness.specs.base import Output, Policy, Spec
from harness.task import Checkpoint, Cut, Event, Failure, Progress, Result, Task, TaskEvent, Unit


class ActSpec(Spec):
    kind = "act"
    entry = "kit.pool_kit"

    act: Literal["end", "raise", "kill", "exit", "hang", "memory", "nothing"] = "end"
    on_rank: int = 0
    """Which rank acts so; the others just end."""
    size: int = 1
    seconds: float = 0.0
    """How long every rank takes."""
    after: float = 0.0
    """How much longer those take that do not act."""
    progress: int = 0
    numbers: int = 1

    def ranks(self) -> int:
        return self.size


class AloneSpec(ActSpec):
    policy = Policy(exclusive=True)


def unit(name: str = "act", exclusive: bool = False, images: int = 0, deadline: float = 60.0, **fields: Any) -> Unit:
    """Return the first unit of a task of this name; `images` cuts it into spans of one image."""
    spec = (AloneSpec if exclusive else ActSpec)(**fields)
    return Task(name, spec, name, Cut(0, images, 1) if images else None, deadline_seconds=deadline).unit(0)


def run(spec: ActSpec, inputs: Mapping[str, Any], place: Place) -> Iterator[Event]:
    """Do as asked; the result holds the process id, the sum of the inputs, and numbers."""
    time.sleep(spec.seconds)
    for number in range(spec.progress):
        yield Progress(number + 1, spec.progress)
    if spec.progress:
        yield Checkpoint({}, {"step": spec.progress})
    if place.ranks.rank == spec.on_rank:
        if spec.act == "raise":
            raise ValueError("the unit's own\nmistake")
        if spec.act == "memory":
            raise MemoryError("needed 8 bytes, 4 free")
        if spec.act == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if spec.act == "exit":
            sys.exit(3)
        if spec.act == "hang":
            while True:
                time.sleep(1)
        if spec.act == "nothing":
            return
    else:
        time.sleep(spec.after)
    total = sum(float(value.tensors["numbers"].sum()) for value in inputs.values())
    if place.ranks.rank == 0:
        with socket.socket() as listening:
            listening.bind(("", place.ranks.port))  # it was said to be free
    found = {"pid": os.getpid(), "total": total, "port": place.ranks.port, "size": place.ranks.size}
    tensors = {name: np.array([value]) for name, value in found.items()}
    yield Result(Output(), {**tensors, "numbers": np.ones(spec.numbers)})


def ended(pool: Any, count: int, seconds: float = 60.0, longest: float | None = None) -> list[TaskEvent]:
    """Poll until so many results and failures have come; return these. No poll may take longer than `longest`."""
    found: list[TaskEvent] = []
    until = time.monotonic() + seconds
    while len(found) < count and time.monotonic() < until:
        began = time.monotonic()
        events = pool.poll(0.2)
        took = time.monotonic() - began
        assert longest is None or took < longest, took
        found += [told for told in events if isinstance(told.event, Result | Failure)]
    assert len(found) == count, found
    return found


def pid(told: TaskEvent) -> int:
    """Return the process that gave a result."""
    assert isinstance(told.event, Result), told.event
    return int(told.event.tensors["pid"][0])


def failure(told: TaskEvent) -> tuple[str, bool]:
    """Return the kind of a failure and whether the worker is lost."""
    assert isinstance(told.event, Failure), told.event
    return told.event.kind, told.event.lost
