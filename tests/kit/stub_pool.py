"""A pool that computes nothing: many devices on many hosts, in virtual time, for tests of the driver."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from harness.pools.hosts import Hosts
from harness.specs.base import Output
from harness.task import Failure, Result, TaskEvent, Unit


@dataclass(eq=False)
class _Run:
    unit: Unit
    devices: list[tuple[int, int]]  # host and number of each
    number: int
    inputs: Mapping[str, Any]
    dropped: bool = False


class StubPool:
    """Every unit ends after the seconds that `seconds` says, with what `result` says. The clock is `now`."""

    device_class, device_name = "cpu:a chip", "a chip"

    def __init__(
        self,
        hosts: int,
        devices_per_host: int,
        seconds: Callable[[Unit], float],
        result: Callable[[Unit, Mapping[str, Any]], Result | Failure],
    ) -> None:
        self.now = 0.0
        self.devices: Hosts[tuple[int, int]] = Hosts()
        for host in range(hosts):
            for number in range(devices_per_host):
                self.devices.add((host, number), f"host-{host}")
        self._seconds, self._result = seconds, result
        self._runs: list[tuple[float, int, _Run]] = []
        self._numbers = count()
        self._lost: list[_Run] = []

    def put(self, value: Any) -> Any:
        return value

    def size(self) -> int:
        return len(self.devices)

    def hosts(self) -> int:
        return self.devices.count()

    def reserve(self, hosts: int, devices: int = 1) -> None:
        self.devices.reserve(hosts, devices)

    def idle(self, exclusive: bool = False) -> int:
        return self.devices.idle(exclusive)

    def has_loaded(self, networks: Sequence[str]) -> bool:
        return self.devices.has_loaded(networks)

    def submit(self, unit: Unit, inputs: Mapping[str, Any]) -> None:
        devices = self.devices.take_workers(unit.task.ranks, unit.task.exclusive, unit.task.id, unit.task.networks)
        assert devices, "the driver started what it was told cannot start"
        run = _Run(unit, devices, next(self._numbers), dict(inputs))
        heapq.heappush(self._runs, (self.now + self._seconds(unit), run.number, run))

    def running(self) -> list[Unit]:
        """Return what runs."""
        return [run.unit for _, _, run in self._runs if not run.dropped]

    def lose(self, host: int) -> None:
        """Lose a host with all that runs there."""
        for worker in [worker for worker in self.devices if worker[0] == host]:
            self.devices.remove(worker)
        for _, _, run in self._runs:
            if any(device[0] == host for device in run.devices):
                run.devices = [device for device in run.devices if device[0] != host]
                self._lost.append(run)

    def drop(self, unit: Unit) -> None:
        found = min((run for _, _, run in self._runs if run.unit == unit and not run.dropped), key=lambda r: r.number)
        found.dropped = True
        self._give_back(found)

    def poll(self, seconds: float) -> list[TaskEvent]:
        events = [TaskEvent(run.unit, self._end_lost(run)) for run in self._lost if not run.dropped]
        self._lost.clear()
        until = self.now + (0.0 if events else seconds)
        while self._runs and self._runs[0][0] <= (self.now if events else until):
            self.now, _, run = heapq.heappop(self._runs)
            if run.dropped:
                continue
            self._give_back(run)
            result = self._result(run.unit, run.inputs)
            handle = Result(Output(), result.tensors) if isinstance(result, Result) else None
            events.append(TaskEvent(run.unit, result, ref=handle))
        if not events:
            self.now = until
        return events

    def close(self) -> None:
        pass

    def _end_lost(self, run: _Run) -> Failure:
        run.dropped = True
        self._give_back(run)
        return Failure("worker-died", "its node is gone", lost=True)

    def _give_back(self, run: _Run) -> None:
        for device in run.devices:
            self.devices.release_worker(device)
