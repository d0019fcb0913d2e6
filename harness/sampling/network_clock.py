"""The time inside the network: by the host's clock on a CPU, by the device's own events on a GPU."""

from __future__ import annotations

import time

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

    def __enter__(self) -> None:
        """Begin a block whose seconds count; there is no other one in it."""
        if self._reads_events:
            self._first = torch.cuda.Event(enable_timing=True)
            self._first.record()
        else:
            self._began = time.perf_counter()

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if kind is not None:
            return
        if self._reads_events:
            last = torch.cuda.Event(enable_timing=True)
            last.record()
            self._events.append((self._first, last))
        else:
            self._host_seconds += time.perf_counter() - self._began

    @property
    def seconds(self) -> float:
        """Return the seconds so far; on a GPU it waits for the last block to end there."""
        if self._events:
            self._events[-1][1].synchronize()
            self._host_seconds += sum(first.elapsed_time(last) for first, last in self._events) / 1e3
            self._events.clear()
        return self._host_seconds
