"""Virtual time of a parallel trial: its executor's model, replayed with calls and hops that are measured here.

A call's seconds are those of a loop of calls made as the executor makes them: on the first rank alone, or "crowded",
on all ranks at once, since devices of one machine share its memory and caches; then the slowest rank's count, as the
others wait for it. Where the step decides how much of the network runs, every step has loops of its own. Where a
replay is on more devices than one, it takes the crowded calls. What comes out is a model's time: it is labelled
virtual, stands beside measured times and never ranks.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import count
from statistics import fmean, median
from typing import NamedTuple

import torch

from harness.measure.device import clocked
from harness.sampling.ranks import Group
from harness.sampling.sampler import Sampler, Work
from harness.specs.rules.timing import CALL_LOOPS, LOOP_CALLS, ROUND_TRIPS
from harness.specs.time import VirtualTime

LOOP, BOUNCE = 1, 2
"""Words by which the first rank announces that all ranks loop at once, or that states go to rank 1 and back."""


class _Kind(NamedTuple):
    """Calls that take the same time but for noise."""

    step: int | None
    """The step of all rows, where it decides what runs; None: any steps."""
    rows: int
    crowded: bool


class Calls:
    """Seconds of one call of the network and of one hop. Every rank has one; the first measures, the others join."""

    def __init__(self, trial: Sampler, group: Group) -> None:
        self._trial = trial
        self._group = group
        self._steps = len(trial.sigmas) - 1
        self._loops: dict[_Kind, list[float]] = defaultdict(list)
        self._turns = count()

    def seconds(self, steps: Sequence[int], crowded: bool) -> float:
        """Return the median seconds of one call with a row at each of these steps; every kind's first loop warms up."""
        kinds = self._kinds(steps, crowded)
        for kind in kinds:
            while len(self._loops[kind]) <= CALL_LOOPS:
                self._measure(kind)
        return sum(median(self._loops[kind][1:]) for kind in kinds)

    def mean(self, crowded: bool) -> float:
        """Return the seconds of one call with one row, averaged over the steps."""
        return fmean(self.seconds([step], crowded) for step in range(self._steps))

    def loop(self, crowded: bool) -> None:
        """Measure one loop with one row, of the next step in turn; made between timed calls, it meets their machine."""
        (kind,) = self._kinds([next(self._turns) % self._steps], crowded)
        self._measure(kind)

    def hop_seconds(self) -> float:
        """Return the median seconds of one state of one image from a rank to another, by round trips.

        Each of the two ranks makes a call before it sends: as in a trial, who receives has rested and has to wake up.
        """
        self._group.announce(BOUNCE, 0, ROUND_TRIPS)
        return median(self._bounce(ROUND_TRIPS))

    def join(self, word: int, indices: range) -> None:
        """Do, on any rank but the first, what the first has announced."""
        if word == LOOP:
            image, place = divmod(indices.start, self._steps + 1)
            self._slowest(self._loop(image, place - 1 if place else None, len(indices)))
        else:
            self._bounce(len(indices))

    def _kinds(self, steps: Sequence[int], crowded: bool) -> list[_Kind]:
        """Return the calls that the denoiser makes of one: rows of different steps are called apart if these decide."""
        if not self._trial.denoiser.by_step:
            return [_Kind(None, len(steps), crowded)]
        return [_Kind(step, rows, crowded) for step, rows in Counter(steps).items()]

    def _measure(self, kind: _Kind) -> None:
        """Measure one loop; each takes another image."""
        image = len(self._loops[kind])
        if kind.crowded:
            place = 0 if kind.step is None else kind.step + 1
            self._group.announce(LOOP, image * (self._steps + 1) + place, kind.rows)
        seconds = self._loop(image, kind.step, kind.rows)
        self._loops[kind].append(self._slowest(seconds) if kind.crowded else seconds)

    def _loop(self, image: int, step: int | None, rows: int) -> float:
        """Return seconds per call of one loop with so many rows, at one step or spread over all of them."""
        work, every = Work(), self._steps
        if step is None:
            calls = [[(call + every * row // rows) % every for row in range(rows)] for call in range(LOOP_CALLS)]
        else:
            calls = [[step] * rows] * LOOP_CALLS
        _, reading = clocked(lambda: self._trial.call_as_in_run(image, calls, work), self._trial.device)
        return reading.seconds * rows / sum(work.evaluations.values())

    def _bounce(self, trips: int) -> list[float]:
        """Return, on the first rank, the seconds of a hop in every round trip between the first two ranks."""
        peers, state = self._group.peers, self._trial.start([0])
        assert peers is not None
        other, works = 1 - peers.rank, []

        def work() -> None:
            self._trial.call_as_in_run(0, [[0]], Work())

        def there_and_back() -> None:
            if peers.rank == 1:
                peers.recv(state, other, BOUNCE)
            works.append(clocked(work, state.device)[1].seconds)
            peers.isend(state, other, BOUNCE)
            if peers.rank == 0:
                peers.recv(state, other, BOUNCE)

        there = trips if other >= 0 else 0  # a third rank looks on
        seconds = [clocked(there_and_back, state.device)[1].seconds for _ in range(there)]
        mine = torch.tensor(works, dtype=torch.float64, device=state.device)
        theirs = peers.broadcast(mine if there else mine.new_empty(trips), 1).tolist()
        self._meet()
        return [max((trip - a - b) / 2, 0.0) for trip, a, b in zip(seconds, works, theirs, strict=False)]

    def _slowest(self, seconds: float) -> float:
        """Return the most that a rank took, once all have ended."""
        peers = self._group.peers
        if peers is None:
            return seconds
        mine = torch.tensor([seconds], dtype=torch.float64, device=self._trial.device)
        told = [float(peers.broadcast(mine, rank)) for rank in range(peers.size)]
        self._meet()
        return max(told)

    def _meet(self) -> None:
        """Wait for all ranks, so that the next loops begin together."""
        if self._group.peers is not None:
            self._group.peers.end_batch(self._trial.start([0]))


def virtual_rows(
    trial: Sampler, calls: Calls, iterations: Sequence[int], serial_seconds: float, measured: float
) -> list[VirtualTime]:
    """Return the rows of the table `virtual`, one per number of devices; none where the executor has no model.

    `iterations` are the refinements of every timed image, `serial_seconds` the median latency of the serial twin,
    `measured` that of the trial. Without a hop that was measured, on one device, only one device is replayed.
    """
    executor, sigmas = trial.executor, trial.sigmas
    own = executor.device_group()
    counts = [n for n in executor.device_counts(sigmas) if own > 1 or n == 1] if iterations else []
    hop = calls.hop_seconds() if counts and own > 1 else None

    def latency(refinements: int, devices: int) -> float:
        def call(steps: Sequence[int]) -> float:
            return calls.seconds(steps, devices > 1)

        return executor.replayed(trial.solver, sigmas, refinements, devices, call, hop or 0.0)

    rows = []
    for devices in counts:
        seconds = {k: latency(k, devices) for k in set(iterations)}
        rows.append(
            VirtualTime(
                devices=devices,
                is_real=devices == own,
                iterations=fmean(iterations),
                call_seconds=calls.mean(False),
                crowded_call_seconds=calls.mean(True) if own > 1 else None,
                hop_seconds=hop,
                serial_seconds=serial_seconds,
                virtual_latency_seconds=median(seconds[k] for k in iterations),
                measured_latency_seconds=measured if devices == own else None,
            )
        )
    return rows
