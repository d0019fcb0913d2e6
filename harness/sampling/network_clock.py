"""The time inside the network: by the host's clock on a CPU, by the device's own events on a GPU."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class NetworkClock:
    """Sums the seconds of the blocks that it runs through. It does not wait for the device until it is read.

    Without a device it reads the host's clock, which on a GPU shows how long launching took.
    """

    def __init__(self, device: torch.device | None = None) -> None:
        """Take the device whose own time counts."""
        self._reads_events = device is not None and device.type == "cuda"
        self._host_seconds = 0.0
        self._events: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []

    @contextmanager
    def running(self) -> Iterator[None]:
        """Add the seconds of the block."""
        if not self._reads_events:
            began = time.perf_counter()
            yield
            self._host_seconds += time.perf_counter() - began
            return

        first, last = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        first.record()
        yield
        last.record()
        self._events.append((first, last))

    @property
    def seconds(self) -> float:
        """Return the seconds so far; on a GPU it waits for the last block to end there."""
        if self._events:
            self._events[-1][1].synchronize()
            self._host_seconds += sum(first.elapsed_time(last) for first, last in self._events) / 1e3
            self._events.clear()
        return self._host_seconds
