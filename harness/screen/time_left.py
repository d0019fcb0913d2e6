"""How long a run will still take: units left of each kind, times what such units took so far."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping

ENOUGH_UNITS = 5
"""The time left is taken from the run itself once so many units have ended; before that from the plan's estimate."""
_MOST_WAIT = 4.0
"""The run is taken to be at most so many times slower than its units on devices that are always busy."""


class TimeLeft:
    """Seconds that units of each kind took, and what follows for those left. All times are of one steady clock."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._began: float | None = None
        self._ended: Counter[str] = Counter()
        self._spent: dict[str, float] = defaultdict(float)
        self._exclusive: set[str] = set()
        self._starts: dict[str, float] = {}

    def note_start(self, key: str, kind: str, exclusive: bool) -> None:
        """Note that a unit, known by its key, has started."""
        now = self._clock()
        self._began = now if self._began is None else self._began
        self._starts[key] = now
        if exclusive:
            self._exclusive.add(kind)

    def note_end(self, key: str, kind: str) -> None:
        """Note that a unit has ended or failed."""
        began = self._starts.pop(key, None)
        if began is not None:
            self._ended[kind] += 1
            self._spent[kind] += self._clock() - began

    def seconds(self, left: Mapping[str, int], devices: int) -> float | None:
        """Return the seconds that units left, by kind, will take on so many devices; None while too few have ended.

        None too while no unit of a kind that runs alone has ended: those take longest.
        """
        total = sum(self._ended.values())
        alone_unknown = any(left[kind] and not self._ended[kind] for kind in self._exclusive & set(left))
        if self._began is None or total < ENOUGH_UNITS or alone_unknown:
            return None

        # busy devices would take so long; the run also waits for hosts and for its driver
        usual = sum(self._spent.values()) / total
        ideal = sum(self._on_devices(kind, count, devices, usual) for kind, count in left.items())
        behind = sum(self._on_devices(kind, count, devices, usual) for kind, count in self._ended.items())
        elapsed = self._clock() - self._began
        return ideal * min(max(elapsed / behind, 1.0), _MOST_WAIT) if behind > 0 else None

    def _on_devices(self, kind: str, count: int, devices: int, usual: float) -> float:
        each = self._spent[kind] / self._ended[kind] if self._ended[kind] else usual
        return count * each / (1 if kind in self._exclusive else max(devices, 1))
