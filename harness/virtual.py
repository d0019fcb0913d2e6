"""Virtual time of a parallel trial: its executor's model, replayed with calls and hops that are measured here.

A call's seconds are those of a loop of calls made as the executor makes them: on the first rank alone, or "crowded",
on all ranks at once, since devices of one machine share its memory and caches; then the slowest rank's count, as the
others wait for it. Where a replay is on more devices than one, it takes the crowded calls. What comes out is a
model's time: it is labelled virtual, stands beside measured times and never ranks.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean, median
from typing import Any

import torch

from harness.device import clocked
from harness.group import Group
from harness.sampling import Sampler, Work

LOOP, BOUNCE = 1, 2
"""Words by which the first rank announces that all ranks loop at once, or that states go to rank 1 and back."""
_LOOPS = 7
_CALLS = 16
"""Of the network, in a loop."""
_ROUND_TRIPS = 50


class Calls:
    """Seconds of one call of the network and of one hop. Every rank has one; the first measures, the others join."""

    def __init__(self, trial: Sampler, group: Group) -> None:
        self._trial = trial
        self._group = group
        self._loops: dict[tuple[int, bool], list[float]] = defaultdict(list)

    def seconds(self, rows: int, crowded: bool) -> float:
        """Return the median seconds of one call with so many rows; the first loop warmed up."""
        while len(self._loops[rows, crowded]) <= _LOOPS:
            self.loop(rows, crowded)
        return median(self._loops[rows, crowded][1:])

    def loop(self, rows: int, crowded: bool) -> None:
        """Measure one loop; those that are made between the timed calls see the machine as these do."""
        loops = self._loops[rows, crowded]
        loops.append(self._measured(range(len(loops), len(loops) + rows), crowded))

    def hop_seconds(self) -> float:
        """Return the median seconds of one state of one image from a rank to another, by round trips."""
        self._group.announce(BOUNCE, 0, _ROUND_TRIPS)
        return median(self._bounce(_ROUND_TRIPS)) / 2

    def join(self, word: int, indices: range) -> None:
        """Do, on any rank but the first, what the first has announced."""
        if word == LOOP:
            self._slowest(self._loop(indices))
        else:
            self._bounce(len(indices))

    def _measured(self, indices: range, crowded: bool) -> float:
        if not crowded:
            return self._loop(indices)
        self._group.announce(LOOP, indices.start, len(indices))
        return self._slowest(self._loop(indices))

    def _loop(self, indices: range) -> float:
        """Return seconds per call of one loop, with as many rows as there are indices."""
        work, rows = Work(), len(indices)
        _, reading = clocked(lambda: self._trial.rehearse(indices.start, rows, _CALLS, work), self._trial.device)
        return reading.seconds * rows / sum(work.evaluations.values())

    def _bounce(self, trips: int) -> list[float]:
        """Return the seconds of every round trip between the first two ranks."""
        peers, state = self._group.peers, self._trial.start([0])
        assert peers is not None

        def there_and_back() -> None:
            if peers.rank == 0:
                peers.send(state, 1, BOUNCE)
                peers.receive(state, 1, BOUNCE)
            elif peers.rank == 1:
                peers.send(peers.receive(state, 0, BOUNCE), 0, BOUNCE)

        seconds = [clocked(there_and_back, state.device)[1].seconds for _ in range(trips)]
        self._meet()
        return seconds

    def _slowest(self, seconds: float) -> float:
        """Return the most that a rank took, once all have ended."""
        peers = self._group.peers
        if peers is None:
            return seconds
        mine = torch.tensor([seconds], dtype=torch.float64, device=self._trial.device)
        told = [float(peers.share(mine, rank)) for rank in range(peers.size)]
        self._meet()
        return max(told)

    def _meet(self) -> None:
        """Wait for all ranks, so that the next loops begin together."""
        if self._group.peers is not None:
            self._group.peers.settle(self._trial.start([0]))


def virtual_rows(
    trial: Sampler, calls: Calls, iterations: Sequence[int], serial_seconds: float, measured: float
) -> list[dict[str, Any]]:
    """Return the rows of the table `virtual`, one per number of devices; none where the executor has no model.

    `iterations` are the refinements of every timed image, `serial_seconds` the median latency of the serial twin,
    `measured` that of the trial. Without a hop that was measured, on one device, only one device is replayed.
    """
    executor, sigmas = trial.executor, trial.sigmas
    own = executor.device_group()
    counts = [n for n in executor.device_counts(sigmas) if own > 1 or n == 1] if iterations else []
    hop = calls.hop_seconds() if counts and own > 1 else None

    def call(rows: int, devices: int) -> float:
        return calls.seconds(rows, devices > 1)

    def latency(refinements: int, devices: int) -> float:
        return executor.replayed(
            trial.solver, sigmas, refinements, devices, lambda rows: call(rows, devices), hop or 0.0
        )

    rows = []
    for devices in counts:
        seconds = {k: latency(k, devices) for k in set(iterations)}
        rows.append(
            {
                "devices": devices,
                "is_real": devices == own,
                "iterations": fmean(iterations),
                "call_seconds": calls.seconds(1, False),
                "crowded_call_seconds": calls.seconds(1, True) if own > 1 else None,
                "hop_seconds": hop,
                "serial_seconds": serial_seconds,
                "virtual_latency_seconds": median(seconds[k] for k in iterations),
                "measured_latency_seconds": measured if devices == own else None,
            }
        )
    return rows
