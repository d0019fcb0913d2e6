"""Virtual time: how long a Parareal run would take on devices that are not there, from measured calls and hops.

The dependency graph of the run is replayed, one evaluation after another, on D devices of which each does one thing at
a time. What comes out is a model's time and no measurement: it is to be labelled so, and checked against real runs.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Literal

from methods.parareal import Cut, owner

Seconds = Callable[[int], float]
"""Seconds of one call of the network with so many rows, measured."""

Form = Literal["serial", "vanilla", "batched", "pipelined"]
Order = Literal["program", "greedy"]


@dataclass(frozen=True)
class Replay:
    """What a replayed run takes."""

    seconds: float
    """Virtual time from the start to the final state."""
    busy: tuple[float, ...]
    """Seconds that each device computes [D]."""


def replay(
    cut: Cut,
    iterations: int,
    devices: int | None,
    call_seconds: Seconds,
    hop_seconds: float = 0.0,
    form: Form = "pipelined",
    order: Order = "program",
    rows: int = 1,
) -> Replay:
    """Return the virtual time of `iterations` refinements of one batch of `rows` images on `devices` devices.

    The forms are those of the executor, and the serial loop. `hop_seconds` is the time of one state from one device
    to another. A pipelined device follows the program, block by block in (p, i) order, or is "greedy": at every
    moment it takes the first evaluation in (p, i, sub-step) order that can begin. `devices` None is as many as can be
    used, pipelined and greedy only.
    """
    if form == "serial":
        seconds = sum(cut.work) * call_seconds(rows)
        return Replay(seconds, (seconds,))
    if form == "pipelined":
        graph = _Graph(cut, iterations, devices, hop_seconds)
        return (
            graph.greedy(call_seconds(rows))
            if order == "greedy" or devices is None
            else graph.program(call_seconds(rows))
        )
    assert devices is not None
    return _in_turns(cut, iterations, devices, call_seconds, hop_seconds, form == "batched", rows)


def _in_turns(
    cut: Cut, iterations: int, devices: int, call_seconds: Seconds, hop: float, stacked: bool, rows: int
) -> Replay:
    """Return the time where every refinement ends before the next: scatter, solve, gather, sweep on device 0."""
    call = call_seconds(rows)
    busy = [0.0] * devices
    now = busy[0] = cut.blocks * call
    for p in range(1, iterations + 1):
        spans = []
        for rank in range(devices):
            solves = [cut.fine(i) for i in cut.active(p) if owner(i, devices) == rank]
            # stacked, the blocks of a rank go in step, so a shorter one leaves the call when it is through
            going = [sum(solve > j for solve in solves) for j in range(max(solves, default=0))]
            work = sum(call_seconds(n * rows) for n in going) if stacked else sum(solves) * call
            busy[rank] += work
            spans.append(work + (2 * hop if rank and solves else 0.0))
        sweep = sum(cut.corrected(i, p) for i in cut.active(p)) * call
        busy[0] += sweep
        now += max(spans) + sweep
    return Replay(now, tuple(busy))


Key = tuple[int, int, int]
"""Refinement, block and sub-step of an evaluation; the last sub-step is the coarse step at the block's start."""


@dataclass
class _Task:
    device: Hashable
    needs: list[tuple[Key, bool]] = field(default_factory=list)
    """What must be done before, and whether its result has to come from another device."""


class _Graph:
    """All evaluations of a pipelined run, in the order in which a program that follows (p, i) makes them."""

    def __init__(self, cut: Cut, iterations: int, devices: int | None, hop: float) -> None:
        self.hop = hop
        self.devices = devices
        self.tasks: dict[Key, _Task] = {}
        made: dict[tuple[int, int], list[Key]] = {(p, 0): [] for p in range(iterations + 1)}
        began: dict[int, Key] = {}
        for p in range(iterations + 1):
            for i in cut.active(p):
                start = made[p - 1, i - 1] if p else []
                last = [began[i]] if p and cut.share else []
                for j in range(cut.fine(i) if p else 0):
                    last = [self._add((p, i, j), i, last, [] if j or cut.share else start)]
                if p == 0 or cut.corrected(i, p):
                    coarse = self._add((p, i, cut.fine(i)), i, [], made[p, i - 1])
                    last = [*last, coarse, *([began[i]] if p else [])]
                    began[i] = coarse
                made[p, i] = last
        self.final = made[iterations, cut.blocks]

    def greedy(self, call: float) -> Replay:
        """Return the time if a free device takes the first of its tasks that can begin."""
        waiting = {key: len(task.needs) for key, task in self.tasks.items()}
        leads: dict[Key, list[Key]] = defaultdict(list)
        for key, task in self.tasks.items():
            for need, _ in task.needs:
                leads[need].append(key)
        ready: dict[Hashable, list[Key]] = defaultdict(list)
        idle = {task.device for task in self.tasks.values()}
        busy: dict[Hashable, float] = defaultdict(float)
        done: dict[Key, float] = {}
        events: list[tuple[float, int, Key]] = [(0.0, 0, key) for key, count in waiting.items() if not count]
        heapq.heapify(events)  # (time, 0: its inputs are there, 1: it is done; key)
        while events:
            now = events[0][0]
            touched = set()
            while events and events[0][0] == now:
                _, kind, key = heapq.heappop(events)
                device = self.tasks[key].device
                touched.add(device)
                if kind == 0:
                    heapq.heappush(ready[device], key)
                    continue
                done[key] = now
                idle.add(device)
                for lead in leads[key]:
                    waiting[lead] -= 1
                    if not waiting[lead]:
                        heapq.heappush(events, (self._arrival(lead, done), 0, lead))
            for device in touched & idle:
                if ready[device]:
                    key = heapq.heappop(ready[device])
                    idle.discard(device)
                    busy[device] += call
                    heapq.heappush(events, (now + call, 1, key))
        return self._replay(done, busy)

    def program(self, call: float) -> Replay:
        """Return the time if every device makes its evaluations in the program's order, waiting where it must."""
        done: dict[Key, float] = {}
        free: dict[Hashable, float] = defaultdict(float)
        busy: dict[Hashable, float] = defaultdict(float)
        for key, task in self.tasks.items():
            done[key] = free[task.device] = max(free[task.device], self._arrival(key, done)) + call
            busy[task.device] += call
        return self._replay(done, busy)

    def _add(self, key: Key, block: int, own: list[Key], start: list[Key]) -> Key:
        device: Hashable = key if self.devices is None else owner(block, self.devices)
        needs = [(need, False) for need in own] + [(need, self.tasks[need].device != device) for need in start]
        self.tasks[key] = _Task(device, needs)
        return key

    def _arrival(self, key: Key, done: dict[Key, float]) -> float:
        return max((done[need] + self.hop * away for need, away in self.tasks[key].needs), default=0.0)

    def _replay(self, done: dict[Key, float], busy: dict[Hashable, float]) -> Replay:
        devices = busy if self.devices is None else range(self.devices)
        return Replay(max(done[key] for key in self.final), tuple(busy[device] for device in devices))
