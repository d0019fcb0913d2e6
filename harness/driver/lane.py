"""When exclusive units run, which need a host alone: early, on hosts kept free for them.

With one host they run in short turns: nothing else starts, running units end, then all ready
exclusive units run. The next turn comes soon where devices hardly waited for that, so that the first
rows of a run come one by one; later where they waited for long tasks. With several hosts a few are
kept free for as long as exclusive units are ready, and more of them while nothing else is.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from harness.specs.limits import (
    LANE_DRAIN_SECONDS,
    LANE_GAP_PER_IDLE_SECOND,
    LANE_GAP_SECONDS,
    LANE_IDLE_SHARE,
    LEAST_LANE_GAP_SECONDS,
    MOST_LANE_GAP_SECONDS,
)

HOSTS_SHARE = 8
"""One host in this many is kept free, at least one, while other work is ready."""


@dataclass(frozen=True)
class Load:
    """What is ready, what runs, and on how many devices."""

    exclusive_ready: int
    exclusive_running: int
    others_left: int
    """Other units that are not started, ready or not."""
    others_running: int
    others_ready: int = 0
    """Those of the others left that could start now if devices were free."""
    hosts: int = 1
    idle_devices: int = 0
    finds_devices: bool = False
    """Whether a ready exclusive unit could start at once on reserved hosts where nothing runs."""
    devices_at_once: int = 1
    """The most devices that a ready exclusive unit needs."""
    devices_per_host: int = 1
    unit_seconds: float = 0.0
    """Usual seconds of the running units, the longest of them."""
    other_keys: frozenset[str] = frozenset()
    """The other units that run, by their keys."""


class Lane:
    """Decides how many hosts are kept for exclusive units.

    `idle_seconds` sums the device-seconds lost by that.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.is_open = False
        self.idle_seconds = 0.0
        self._clock = clock
        self._began, self._ended = clock(), clock() - LANE_GAP_SECONDS
        self._gap = LANE_GAP_SECONDS
        self._idle_before = 0.0
        self._blockers: frozenset[str] = frozenset()
        """The units that the latest turn waited for in vain."""
        self._had_turn = False
        self._first = self._looked = clock()

    def hosts_to_reserve(self, load: Load) -> int:
        """Return the number of hosts to keep for exclusive units from now on."""
        now = self._clock()

        # devices that wait for the last other unit to end
        if self.is_open and not load.exclusive_running and load.others_running:
            self.idle_seconds += (now - self._looked) * load.idle_devices
        self._looked = now

        # open or close the lane
        if self.is_open:
            self._close_if_over(load, now)
        elif load.exclusive_ready and (self._is_due(load, now) or not load.others_left + load.others_running):
            self.is_open, self._began, self._idle_before = True, now, self.idle_seconds
        return self._hosts(load) if self.is_open else 0

    def _is_due(self, load: Load, now: float) -> bool:
        """Tell whether the gap is over: by its time, or since what the latest turn waited for has ended.

        The latter as long as waiting costs little, and always before the first turn that timed anything.
        """
        if now - self._ended >= self._gap:
            return True
        if not self._blockers or self._blockers & load.other_keys:
            return False
        most = LANE_IDLE_SHARE * load.hosts * load.devices_per_host * (now - self._first)
        return not self._had_turn or self.idle_seconds <= most

    def _close_if_over(self, load: Load, now: float) -> None:
        over = not load.exclusive_ready and not load.exclusive_running
        if load.exclusive_running:
            self._began = now
        waits = max(LANE_DRAIN_SECONDS, 2.0 * load.unit_seconds)
        in_vain = not load.exclusive_running and not load.finds_devices and now - self._began > waits

        if over or in_vain:
            self.is_open, self._ended = False, now
            self._blockers = frozenset() if over else load.other_keys

            # the next turn: by what this one cost the others
            if over:
                self._had_turn = True
                cost = LANE_GAP_PER_IDLE_SECOND * (self.idle_seconds - self._idle_before)
                self._gap = min(max(cost, LEAST_LANE_GAP_SECONDS), LANE_GAP_SECONDS)
            else:
                self._gap = min(2 * max(self._gap, LANE_GAP_SECONDS), MOST_LANE_GAP_SECONDS)
            if over and load.hosts > 1:
                self._ended -= self._gap  # reserved hosts cost the others little: no gap

    def _hosts(self, load: Load) -> int:
        if load.hosts == 1 or not load.others_left:
            return load.hosts
        for_one = -(-load.devices_at_once // load.devices_per_host)
        wanted = (load.exclusive_ready + load.exclusive_running) * for_one
        share = max(1, load.hosts // HOSTS_SHARE) if load.others_ready else load.hosts
        return min(load.hosts, max(for_one, min(wanted, share)))
