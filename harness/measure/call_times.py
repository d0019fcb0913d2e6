"""Virtual time of a parallel trial: its executor's model, replayed with measured calls and hops.

A hop is the transfer of one image's state between ranks. Seconds per call come from a loop of calls made as the
executor makes them: on rank zero alone, or contended, on all ranks at once, since devices of one machine share memory
and caches. Contended calls take the slowest rank's seconds, as the others wait for it; replays on several devices use
them. Where the step decides how much of the network runs, every step is timed on its own. The result is a model's
time: it is labelled virtual, listed next to measured times, and never ranked.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import count
from statistics import fmean, median
from typing import NamedTuple

import torch

from harness.measure.device import timed_call
from harness.sampling.call_counts import CallCounts
from harness.sampling.ranks import Group
from harness.sampling.sampler import Sampler
from harness.specs.rules.timing import CALL_LOOPS, DECODE_CALLS, LOOP_CALLS, ROUND_TRIPS
from harness.specs.time import VirtualTime

LOOP, BOUNCE = 1, 2
"""Rank zero's commands: all ranks loop at once; states go to rank 1 and back."""


class _Kind(NamedTuple):
    """Calls that take the same time but for noise."""

    step: int | None
    """The step of all rows, where it decides what runs; None: any steps."""
    rows: int
    contended: bool


class CallTimer:
    """Seconds of one call of the network and of one hop.

    Every rank has one, in its worker's process. Rank zero measures, and its methods block until the other ranks have
    run its commands.
    """

    def __init__(self, trial: Sampler, group: Group) -> None:
        self._trial = trial
        self._group = group
        self._steps = len(trial.sigmas) - 1
        self._loops: dict[_Kind, list[float]] = defaultdict(list)
        self._turns = count()

    def seconds(self, steps: Sequence[int], contended: bool) -> float:
        """Return the median seconds of one call with a row at each of these steps; a kind's first loop is warm-up."""
        kinds = self._kinds(steps, contended)
        for kind in kinds:
            while len(self._loops[kind]) <= CALL_LOOPS:
                self._measure(kind)
        return sum(median(self._loops[kind][1:]) for kind in kinds)

    def mean_seconds(self, contended: bool) -> float:
        """Return the seconds of one call with one row, averaged over the steps."""
        return fmean(self.seconds([step], contended) for step in range(self._steps))

    def loop(self, contended: bool) -> None:
        """Time one loop with one row, of the next step in turn.

        It runs between timed calls, under the same load.
        """
        (kind,) = self._kinds([next(self._turns) % self._steps], contended)
        self._measure(kind)

    def drop_loops(self) -> None:
        """Forget the loops so far, those of a block that does not count; of each kind the next one is warm-up."""
        self._loops.clear()

    def hop_seconds(self) -> float:
        """Return the median seconds of one image's state from a rank to another, from round trips.

        Both ranks make a call before they send: as in a trial, the receiver idles first, so its wake-up latency is
        included.
        """
        self._group.broadcast_command(BOUNCE, 0, ROUND_TRIPS)
        return median(self._time_hops(ROUND_TRIPS))

    def run_command(self, command: int, indices: range) -> None:
        """Run rank zero's command, on any other rank."""
        if command == LOOP:
            image, place = divmod(indices.start, self._steps + 1)
            self._group.slowest(self._loop(image, place - 1 if place else None, len(indices)))
        else:
            self._time_hops(len(indices))

    def _kinds(self, steps: Sequence[int], contended: bool) -> list[_Kind]:
        """Return the calls that the denoiser makes of one: one per step if the step decides what runs."""
        if not self._trial.denoiser.by_step:
            return [_Kind(None, len(steps), contended)]
        return [_Kind(step, rows, contended) for step, rows in Counter(steps).items()]

    def _measure(self, kind: _Kind) -> None:
        """Time one loop; each takes another image."""
        image = len(self._loops[kind])
        if kind.contended:
            place = 0 if kind.step is None else kind.step + 1
            self._group.broadcast_command(LOOP, image * (self._steps + 1) + place, kind.rows)
        seconds = self._loop(image, kind.step, kind.rows)
        self._loops[kind].append(self._group.slowest(seconds)[0] if kind.contended else seconds)

    def _loop(self, image: int, step: int | None, rows: int) -> float:
        """Return seconds per call of one loop with so many rows, at one step or spread over all of them."""
        call_counts, n = CallCounts(), self._steps
        if step is None:
            calls = [[(call + n * row // rows) % n for row in range(rows)] for call in range(LOOP_CALLS)]
        else:
            calls = [[step] * rows] * LOOP_CALLS
        _, timing = timed_call(lambda: self._trial.call_as_in_run(image, calls, call_counts), self._trial.device)
        return timing.seconds * rows / call_counts.requested

    def _time_hops(self, trips: int) -> list[float]:
        """Return, on rank zero, the seconds of a hop in every round trip between the first two ranks."""
        peers, state = self._group.peers, self._trial.initial_state([0])
        assert peers is not None
        other, own_calls = 1 - peers.rank, []

        def call_once() -> None:
            self._trial.call_as_in_run(0, [[0]], CallCounts())

        def make_round_trip() -> None:
            if peers.rank == 1:
                peers.recv(state, other, BOUNCE)
            own_calls.append(timed_call(call_once, state.device)[1].seconds)
            peers.isend(state, other, BOUNCE)
            if peers.rank == 0:
                peers.recv(state, other, BOUNCE)

        taken = trips if other >= 0 else 0  # none on a third rank
        seconds = [timed_call(make_round_trip, state.device)[1].seconds for _ in range(taken)]

        # a round trip less the calls of both ranks is two hops
        own = torch.tensor(own_calls, dtype=torch.float64, device=state.device)
        peer_calls = peers.broadcast(own if taken else own.new_empty(trips), 1).tolist()
        self._group.barrier()
        return [max((trip - a - b) / 2, 0.0) for trip, a, b in zip(seconds, own_calls, peer_calls, strict=False)]


def replay_virtual_times(
    trial: Sampler, call_timer: CallTimer, iterations: Sequence[int], serial_seconds: float, measured: float
) -> list[VirtualTime]:
    """Return the rows of the table `virtual`, one per number of devices; none where the executor has no model.

    `iterations` are the refinements of every timed image. `serial_seconds` is the median latency under the serial
    executor, `measured` that of the trial. A trial on one device measures no hop, so only one device is replayed.
    """
    executor, sigmas = trial.executor, trial.sigmas
    own = executor.device_group()
    counts = [n for n in executor.device_counts(sigmas) if own > 1 or n == 1] if iterations else []
    hop = call_timer.hop_seconds() if counts and own > 1 else None
    decoding = _decode_seconds(trial) if counts else 0.0

    def latency(refinements: int, devices: int) -> float:
        def call(steps: Sequence[int]) -> float:
            return call_timer.seconds(steps, devices > 1)

        last = call([trial.last_step]) if trial.denoises_last else 0.0
        return executor.replayed(trial.solver, sigmas, refinements, devices, call, hop or 0.0) + last + decoding

    # one row per number of devices
    rows = []
    for devices in counts:
        seconds = {k: latency(k, devices) for k in set(iterations)}

        rows.append(
            VirtualTime(
                devices=devices,
                is_real=devices == own,
                iterations=fmean(iterations),
                call_seconds=call_timer.mean_seconds(False),
                crowded_call_seconds=call_timer.mean_seconds(True) if own > 1 else None,
                hop_seconds=hop,
                serial_seconds=serial_seconds,
                virtual_latency_seconds=median(seconds[k] for k in iterations),
                measured_latency_seconds=measured if devices == own else None,
            )
        )
    return rows


def _decode_seconds(trial: Sampler) -> float:
    """Return the median seconds of decoding one image; 0 where states are pictures."""
    if trial.decoder is None:
        return 0.0
    state = trial.initial_state([0])
    return median(timed_call(lambda: trial.decode(state), trial.device)[1].seconds for _ in range(DECODE_CALLS))
