"""What runs on the pool: since when, with which inputs, and as a straggler perhaps twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from harness.driver.durations import Durations
from harness.pools.pool import Pool
from harness.task import Unit


@dataclass
class Running:
    """A unit that runs, once or twice."""

    unit: Unit
    began: float
    inputs: Mapping[str, Any]
    runs: int = 1


class RunningUnits:
    """The units that were started and have not ended. What is started on the pool is started here."""

    def __init__(self, pool: Pool, clock: Callable[[], float]) -> None:
        self.exclusive = 0
        """How many of them are exclusive."""
        self.devices = 0
        """How many devices they hold, second runs left out."""
        self._pool, self._clock = pool, clock
        self._units: dict[str, Running] = {}
        self._durations = Durations()

    def __len__(self) -> int:
        return len(self._units)

    def get(self, unit: Unit) -> Running | None:
        """Return a unit with what is known of its run; None if it does not run."""
        return self._units.get(unit.key)

    def start(self, unit: Unit, inputs: Mapping[str, Any], placed: Unit) -> None:
        """Start a unit; `placed` is what the pool gets, which tells more than the unit where it concludes a search."""
        self._units[unit.key] = Running(unit, self._clock(), inputs)
        self.exclusive += unit.task.exclusive
        self.devices += unit.task.ranks
        self._pool.start(placed, inputs)

    def start_second_run(self, running: Running, inputs: Mapping[str, Any]) -> None:
        """Start a unit once more beside its first run."""
        running.runs += 1
        self._pool.start(running.unit, inputs)

    def end(self, running: Running, well: bool = False) -> float:
        """Take a unit out, its second run too, and return its seconds; they are remembered if it ended well."""
        del self._units[running.unit.key]
        self.exclusive -= running.unit.task.exclusive
        self.devices -= running.unit.task.ranks
        if running.runs > 1:
            self._pool.drop(running.unit)
        seconds = self._clock() - running.began
        if well:
            self._durations.add(running.unit, seconds)
        return seconds

    def stragglers(self) -> Iterator[Running]:
        """Yield the units that run once and take far longer than others of their task."""
        now = self._clock()
        for one in list(self._units.values()):
            if one.runs == 1 and not one.unit.task.exclusive and self._durations.straggles(one.unit, now - one.began):
                yield one

    def usual_seconds(self) -> float:
        """Return how long the units that run take usually, the longest of them; 0 where nothing is known."""
        return self._durations.longest(one.unit for one in self._units.values())
