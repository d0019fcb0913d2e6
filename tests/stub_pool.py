"""A pool that computes nothing: many devices on many hosts, in virtual time, for tests of the driver."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

from harness.task import Failure, Result, TaskEvent, Unit


@dataclass
class _Run:
    unit: Unit
    devices: list[int]  # the host of each
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
        self._seconds, self._result = seconds, result
        self._per_host = devices_per_host
        self._free = [devices_per_host] * hosts
        self._reserved: set[int] = set()
        self._idle_elsewhere = hosts * devices_per_host  # free devices of hosts that are not reserved
        self._open: dict[int, None] = dict.fromkeys(range(hosts))  # hosts, not reserved, that have a free device
        self._runs: list[tuple[float, int, _Run]] = []
        self._numbers = count()

    def put(self, value: Any) -> Any:
        return value

    def size(self) -> int:
        return len(self._free) * self._per_host

    def hosts(self) -> int:
        return len(self._free)

    def reserve(self, hosts: int) -> None:
        while len(self._reserved) > hosts:
            host = max(self._reserved, key=lambda h: (self._free[h], h))
            self._reserved.discard(host)
            self._idle_elsewhere += self._free[host]
            if self._free[host]:
                self._open[host] = None
        while len(self._reserved) < hosts:
            host = max((h for h in range(len(self._free)) if h not in self._reserved), key=lambda h: self._free[h])
            self._reserved.add(host)
            self._idle_elsewhere -= self._free[host]
            self._open.pop(host, None)

    def idle(self, exclusive: bool = False) -> int:
        if not exclusive:
            return self._idle_elsewhere
        return sum(self._free[host] for host in self._reserved if self._free[host] == self._per_host)

    def start(self, unit: Unit, inputs: Mapping[str, Any]) -> None:
        ranks = unit.task.ranks
        if unit.task.exclusive:
            hosts = [h for h in sorted(self._reserved) if self._free[h] == self._per_host]
            devices = [host for host in hosts for _ in range(self._per_host)][:ranks]
        else:
            devices = []
            while len(devices) < ranks:
                host = next(iter(self._open))
                devices.append(host)
                self._take(host)
        for host in devices if unit.task.exclusive else ():
            self._free[host] -= 1
        assert len(devices) == ranks, "the driver started what it was told cannot start"
        run = _Run(unit, devices, next(self._numbers), dict(inputs))
        heapq.heappush(self._runs, (self.now + self._seconds(unit), run.number, run))

    def _take(self, host: int) -> None:
        self._free[host] -= 1
        self._idle_elsewhere -= 1
        if not self._free[host]:
            self._open.pop(host, None)

    def drop(self, unit: Unit) -> None:
        found = min((run for _, _, run in self._runs if run.unit == unit and not run.dropped), key=lambda r: r.number)
        found.dropped = True
        self._give_back(found)

    def poll(self, seconds: float) -> list[TaskEvent]:
        events: list[TaskEvent] = []
        until = self.now + seconds
        while self._runs and self._runs[0][0] <= (self.now if events else until):
            self.now, _, run = heapq.heappop(self._runs)
            if run.dropped:
                continue
            self._give_back(run)
            result = self._result(run.unit, run.inputs)
            handle = result if isinstance(result, Result) else None
            events.append(TaskEvent(run.unit, result, handle=handle))
        if not events:
            self.now = until
        return events

    def close(self) -> None:
        pass

    def _give_back(self, run: _Run) -> None:
        for host in run.devices:
            self._free[host] += 1
            if host not in self._reserved:
                self._idle_elsewhere += 1
                self._open[host] = None
