"""Durations of units: which are stragglers, and how long a turn may wait for devices."""

from __future__ import annotations

import bisect
from collections import defaultdict
from collections.abc import Iterable

from harness.specs.limits import STRAGGLES_AFTER, STRAGGLES_SECONDS
from harness.task import Unit

_MIN_SAMPLES = 3
"""A median needs this many ended units of a task."""
_MAX_SAMPLES = 99  # durations kept per task


class Durations:
    """Seconds that successful units took, by task."""

    def __init__(self) -> None:
        self._seconds: dict[str, list[float]] = defaultdict(list)
        self._last: list[float] = []  # of the most recent units of any task

    def add_duration(self, unit: Unit, seconds: float) -> None:
        """Record how many seconds a unit took."""
        self._last = [*self._last[-_MIN_SAMPLES:], seconds]
        known = self._seconds[unit.task.id]
        if len(known) < _MAX_SAMPLES:
            bisect.insort(known, seconds)

    def median(self, unit: Unit) -> float | None:
        """Return the median seconds of a unit's task; None while too few have ended."""
        known = self._seconds.get(unit.task.id, [])
        return known[len(known) // 2] if len(known) >= _MIN_SAMPLES else None

    def is_straggler(self, unit: Unit, seconds: float) -> bool:
        """Tell whether a unit that runs for `seconds` is far slower than others of its task."""
        median = self.median(unit)
        return median is not None and seconds > max(STRAGGLES_AFTER * median, median + STRAGGLES_SECONDS)

    def longest(self, units: Iterable[Unit]) -> float:
        """Return the longest median seconds of these units' tasks.

        A task without a median counts as the longest of the most recent units.
        """
        unknown = max(self._last, default=0.0)
        medians = (self.median(unit) for unit in units)
        return max((unknown if median is None else median for median in medians), default=0.0)
