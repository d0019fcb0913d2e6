"""When devices are kept free for a unit that needs several at once, so that units on one device do not pass it forever.

They are kept while it is the first that is ready in the plan's order, and only for a short time: where a training
holds the rest, they go to other units until what the unit waited for in vain has ended.
"""

from __future__ import annotations

from collections.abc import Callable

from harness.driver.running import RunningUnits
from harness.specs.limits import GATHER_SECONDS
from harness.task import Task


class Gathering:
    """Decides whether idle devices wait for further ones; exclusive units are left to the lane."""

    def __init__(self, running: RunningUnits, clock: Callable[[], float]) -> None:
        self._running, self._clock = running, clock
        self._began: tuple[str, float] | None = None
        """The task that devices are kept for, and since when."""
        self._blockers: frozenset[str] = frozenset()
        """The units that were waited for in vain."""

    def keeps_devices(self, first: Task | None, idle: int) -> bool:
        """Tell whether the `idle` devices are kept free for the `first` task that is ready.

        Not where it could start, nor where all devices that others give back would not be enough.
        """
        if first is None or not idle < first.ranks <= idle + self._running.shared_devices:
            self._began = None
            return False
        others, now = self._running.keys(exclusive=False), self._clock()
        if self._blockers & others:
            return False
        if self._began is None or self._began[0] != first.id:
            self._began = first.id, now
        if now - self._began[1] < GATHER_SECONDS:
            return True
        self._began, self._blockers = None, others
        return False
