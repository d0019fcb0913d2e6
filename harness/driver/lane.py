"""When tasks that want a device's host for themselves run: in short turns, so that rows come from the first minutes.

In a turn nothing else is started; what runs is waited for, then every exclusive task that is ready runs, host by host.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

GAP_SECONDS = 30.0
"""At least so long between the end of a turn and the beginning of the next, while other work is left."""
DRAIN_SECONDS = 10.0
"""So long a turn waits for devices; where it is longer, as for a training to end, it is put off for twice the gap."""


@dataclass(frozen=True)
class Load:
    """How many tasks could start or run now."""

    exclusive_ready: int
    exclusive_running: int
    others_left: int
    """Waiting, ready or not."""
    others_running: int


class Lane:
    """Whether a turn of exclusive tasks is on. `idle_seconds` is what draining devices for the turns has cost."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.is_open = False
        self.idle_seconds = 0.0
        self._clock = clock
        self._began = self._ended = -GAP_SECONDS
        self._gap = GAP_SECONDS
        self._looked = clock()

    def look(self, load: Load, idle_devices: int) -> None:
        """Open or close a turn by what waits and runs now."""
        now = self._clock()
        if self.is_open and not load.exclusive_running and load.others_running:
            self.idle_seconds += (now - self._looked) * idle_devices
        self._looked = now
        if self.is_open:
            over = not load.exclusive_ready and not load.exclusive_running
            self._began = now if load.exclusive_running else self._began
            in_vain = not load.exclusive_running and now - self._began > DRAIN_SECONDS
            if over or in_vain:
                self.is_open, self._ended = False, now
                self._gap = GAP_SECONDS if over else 2 * self._gap
        elif load.exclusive_ready:
            alone = not load.others_left and not load.others_running
            if alone or now - self._ended >= self._gap:
                self.is_open, self._began = True, now

    def admits(self, exclusive: bool) -> bool:
        """Tell whether a task may start."""
        return exclusive == self.is_open
