"""What a run took of its machine: wall time, the load it met, and CPU time of this process and all below it.

Load says how much else ran. CPU time says what the run itself cost, however busy the machine was.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress

import psutil

from harness.measure.usable_cores import count_worker_cores


class MachineUse:
    """Wall and CPU time since it was made, in this process. Workers of other machines are not counted."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self._own_before = _own_cpu_seconds(psutil.Process())
        self._below_before = cpu_seconds_below()
        self._below = 0.0
        self.load = os.getloadavg()[0]
        """Processes that ran or waited, averaged over the minute before."""

    def read_workers(self) -> None:
        """Read the CPU time of all processes below this one; call it before they end."""
        self._below = max(cpu_seconds_below() - self._below_before, 0.0)

    def cpu_seconds(self) -> float:
        """Return user and system seconds of this process and, when last read, of those below it."""
        return _own_cpu_seconds(psutil.Process()) - self._own_before + self._below

    def seconds(self) -> float:
        """Return wall seconds."""
        return self._clock() - self._began

    def sentence(self) -> str:
        """Return wall time, cores, load and core-minutes in words."""
        minutes, seconds = divmod(round(self.seconds()), 60)
        wall = f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
        return (
            f"{wall} on a machine of {count_worker_cores()} cores, load {self.load:.1f} at the start; "
            f"{self.cpu_seconds() / 60:.1f} core-minutes of its own"
        )


def cpu_seconds_below() -> float:
    """Return user and system seconds of all processes below this one, with their own ended children."""
    total = 0.0
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):  # it may end while it is read
            times = process.cpu_times()
            total += times.user + times.system + getattr(times, "children_user", 0.0)
            total += getattr(times, "children_system", 0.0)
    return total


def _own_cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
