"""Virtual time: how long a Parareal run would take on devices that are not there, from measured calls and hops.

The dependency graph of the run is replayed, one evaluation after another, on D devices of which each does one thing at
a time. What comes out is a model's time and no measurement: it is to be labelled so, and checked against real runs.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Literal

from methods.executors.srds_blocks import Cut, owner

Seconds = Callable[[Sequence[int]], float]
"""Seconds of one call of the network with a row at each of these steps of the grid, measured."""

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

    def call(steps: Sequence[int]) -> float:
        return call_seconds([step for step in steps for _ in range(rows)])

    if form == "serial":
        seconds = sum(count * call([step]) for step, count in enumerate(cut.work))
        return Replay(seconds, (seconds,))
    if form == "pipelined":
        graph = _Graph(cut, iterations, devices, call, hop_seconds)
        return graph.greedy() if order == "greedy" or devices is None else graph.program()
    assert devices is not None
    return _in_turns(cut, iterations, devices, call, hop_seconds, form == "batched")


def _in_turns(cut: Cut, iterations: int, devices: int, call: Seconds, hop: float, stacked: bool) -> Replay:
    """Return the time where every refinement ends before the next: scatter, solve, gather, sweep on device 0."""
    busy = [0.0] * devices
    now = busy[0] = sum(call([cut.start(i)]) for i in range(1, cut.blocks + 1))
    for p in range(1, iterations + 1):
        spans = []
        for rank in range(devices):
            solves = [cut.solve(i) for i in cut.active(p) if owner(i, devices) == rank]
            # stacked, the blocks of a rank go in step, so a shorter one leaves the call when it is through
            together = [[step for step in steps if step is not None] for steps in zip_longest(*solves)]
            calls = together if stacked else [[step] for solve in solves for step in solve]
            work = sum(map(call, calls))
            busy[rank] += work
            spans.append(work + (2 * hop if rank and solves else 0.0))
        sweep = sum(call([cut.start(i)]) for i in cut.active(p) if cut.corrected(i, p))
        busy[0] += sweep
        now += max(spans) + sweep
    return Replay(now, tuple(busy))


Key = tuple[int, int, int]
"""Refinement, block and sub-step of an evaluation; the last sub-step is the coarse step at the block's start."""


@dataclass
class _Task:
    device: Hashable
    seconds: float
    needs: list[tuple[Key, bool]] = field(default_factory=list)
    """What must be done before, and whether its result has to come from another device."""


class _Graph:
    """All evaluations of a pipelined run, in the order in which a program that follows (p, i) makes them."""

    def __init__(self, cut: Cut, iterations: int, devices: int | None, call: Seconds, hop: float) -> None:
        self.call = call
        self.hop = hop
        self.devices = devices
        self.tasks: dict[Key, _Task] = {}
        made: dict[tuple[int, int], list[Key]] = {(p, 0): [] for p in range(iterations + 1)}
        began: dict[int, Key] = {}
        for p in range(iterations + 1):
            for i in cut.active(p):
                start = made[p - 1, i - 1] if p else []
                last = [began[i]] if p and cut.share else []
                for j, step in enumerate(cut.solve(i) if p else ()):
                    last = [self._add((p, i, j), step, last, [] if j or cut.share else start)]
                if p == 0 or cut.corrected(i, p):
                    coarse = self._add((p, i, cut.fine(i)), cut.start(i), [], made[p, i - 1])
                    last = [*last, coarse, *([began[i]] if p else [])]
                    began[i] = coarse
                made[p, i] = last
        self.final = made[iterations, cut.blocks]

    def greedy(self) -> Replay:
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
                    busy[device] += self.tasks[key].seconds
                    heapq.heappush(events, (now + self.tasks[key].seconds, 1, key))
        return self._replay(done, busy)

    def program(self) -> Replay:
        """Return the time if every device makes its evaluations in the program's order, waiting where it must."""
        done: dict[Key, float] = {}
        free: dict[Hashable, float] = defaultdict(float)
        busy: dict[Hashable, float] = defaultdict(float)
        for key, task in self.tasks.items():
            done[key] = free[task.device] = max(free[task.device], self._arrival(key, done)) + task.seconds
            busy[task.device] += task.seconds
        return self._replay(done, busy)

    def _add(self, key: Key, step: int, own: list[Key], start: list[Key]) -> Key:
        """Add an evaluation at a step of the grid that needs some of its own block's and some of the one before."""
        device: Hashable = key if self.devices is None else owner(key[1], self.devices)
        needs = [(need, False) for need in own] + [(need, self.tasks[need].device != device) for need in start]
        self.tasks[key] = _Task(device, self.call([step]), needs)
        return key

    def _arrival(self, key: Key, done: dict[Key, float]) -> float:
        return max((done[need] + self.hop * away for need, away in self.tasks[key].needs), default=0.0)

    def _replay(self, done: dict[Key, float], busy: dict[Hashable, float]) -> Replay:
        devices = busy if self.devices is None else range(self.devices)
        return Replay(max(done[key] for key in self.final), tuple(busy[device] for device in devices))
