"""How long units take: which of those that run are stragglers, and how long a turn may wait for devices."""

from __future__ import annotations

import bisect
from collections import defaultdict
from collections.abc import Iterable

from harness.specs.limits import STRAGGLES_AFTER, STRAGGLES_SECONDS
from harness.task import Unit

_ENOUGH = 3
"""So many units of a task must have ended before its median says anything."""
_MOST = 99  # durations that are remembered of a task


class Durations:
    """Seconds of the units that ended well, by task."""

    def __init__(self) -> None:
        self._seconds: dict[str, list[float]] = defaultdict(list)
        self._last: list[float] = []  # of units of any task, the last ones

    def add(self, unit: Unit, seconds: float) -> None:
        """Note how long a unit took."""
        self._last = [*self._last[-_ENOUGH:], seconds]
        known = self._seconds[unit.task.id]
        if len(known) < _MOST:
            bisect.insort(known, seconds)

    def median(self, unit: Unit) -> float | None:
        """Return the median of a unit's task, None while too few have ended."""
        known = self._seconds.get(unit.task.id, [])
        return known[len(known) // 2] if len(known) >= _ENOUGH else None

    def straggles(self, unit: Unit, seconds: float) -> bool:
        """Tell whether a unit that has run for so long takes far longer than others of its task."""
        median = self.median(unit)
        return median is not None and seconds > max(STRAGGLES_AFTER * median, median + STRAGGLES_SECONDS)

    def longest(self, units: Iterable[Unit]) -> float:
        """Return the longest median of these units' tasks, for tasks without one the longest of the last units."""
        unknown = max(self._last, default=0.0)
        medians = (self.median(unit) for unit in units)
        return max((unknown if median is None else median for median in medians), default=0.0)
