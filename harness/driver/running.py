"""Units that run on the pool: since when, with which inputs; a straggler runs twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from harness.driver.durations import Durations
from harness.pools.pool import Pool
from harness.task import Unit


@dataclass
class Running:
    """A unit that runs once or, as a straggler, twice."""

    unit: Unit
    began: float
    inputs: Mapping[str, Any]
    runs: int = 1


class RunningUnits:
    """The units that were started and have not ended. Only this class starts units on the pool."""

    def __init__(
        self, pool: Pool, clock: Callable[[], float], on_start: Callable[[Unit], None] = lambda unit: None
    ) -> None:
        """`on_start` is called for each unit that starts, but not for second runs."""
        self.exclusive = 0
        """Number of exclusive ones among them."""
        self.devices = 0
        """Number of devices they hold, without second runs."""
        self.shared_devices = 0
        """As many of these as are held by units that are not exclusive."""
        self._pool, self._clock, self._on_start = pool, clock, on_start
        self._units: dict[str, Running] = {}
        self._durations = Durations()

    def __len__(self) -> int:
        return len(self._units)

    def get(self, unit: Unit) -> Running | None:
        """Return the run of a unit; None if it does not run."""
        return self._units.get(unit.key)

    def start_unit(self, unit: Unit, inputs: Mapping[str, Any], placed: Unit) -> None:
        """Start a unit.

        `placed` is what the pool gets: the unit, with all rounds where it concludes a search.
        """
        self._units[unit.key] = Running(unit, self._clock(), inputs)
        self.exclusive += unit.task.exclusive
        self._count_devices(unit, unit.task.ranks)
        self._pool.submit(placed, inputs)
        self._on_start(unit)

    def start_second_run(self, running: Running, inputs: Mapping[str, Any]) -> None:
        """Start a unit a second time while its first run continues."""
        running.runs += 1
        self._pool.submit(running.unit, inputs)

    def end_unit(self, running: Running, well: bool = False) -> float:
        """Remove a unit, stop its second run, and return its seconds.

        They are recorded if `well`.
        """
        del self._units[running.unit.key]
        self.exclusive -= running.unit.task.exclusive
        self._count_devices(running.unit, -running.unit.task.ranks)
        if running.runs > 1:
            self._pool.drop(running.unit)
        seconds = self._clock() - running.began
        if well:
            self._durations.add_duration(running.unit, seconds)
        return seconds

    def keys(self, exclusive: bool) -> frozenset[str]:
        """Return the keys of the units that run and are exclusive, or are not."""
        return frozenset(key for key, one in self._units.items() if one.unit.task.exclusive == exclusive)

    def stragglers(self) -> Iterator[Running]:
        """Yield the units that run once and take far longer than others of their task."""
        now = self._clock()
        for one in list(self._units.values()):
            may_repeat = one.runs == 1 and not one.unit.task.spec.policy.measures_time
            if may_repeat and self._durations.is_straggler(one.unit, now - one.began):
                yield one

    def usual_seconds(self) -> float:
        """Return the usual seconds of the running units, the longest of them; 0 if unknown."""
        return self._durations.longest(one.unit for one in self._units.values())

    def _count_devices(self, unit: Unit, more: int) -> None:
        self.devices += more
        self.shared_devices += 0 if unit.task.exclusive else more
