"""Virtual time: how long a Parareal run would take on absent devices, from measured calls and transfers.

The dependency graph of the run is replayed, one evaluation after another, on D devices that each
do one thing at a time. The result is a model's time and no measurement. It is to be labelled so,
and checked against real runs. Runs on a worker after the timed rounds.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Literal

from methods.executors.srds_blocks import BlockPlan, owner

Seconds = Callable[[Sequence[int]], float]
"""Seconds of one call of the network with a row at each of these steps of the grid, measured."""

Form = Literal["serial", "vanilla", "batched", "pipelined"]
Order = Literal["program", "greedy"]


@dataclass(frozen=True)
class Replay:
    """Virtual time of a replayed run."""

    seconds: float
    """Virtual time from the start to the final state."""
    busy: tuple[float, ...]
    """Seconds that each device computes [D]."""


def replay(
    plan: BlockPlan,
    iterations: int,
    devices: int | None,
    call_seconds: Seconds,
    hop_seconds: float = 0.0,
    form: Form = "pipelined",
    order: Order = "program",
    rows: int = 1,
) -> Replay:
    """Return the virtual time of `iterations` refinements of one batch of `rows` images on `devices` devices.

    The forms are those of the executor, and the serial loop. `hop_seconds` is the transfer time of
    one state from one device to another. A pipelined device follows the program, block by block in
    (p, i) order. A "greedy" one takes the first evaluation in (p, i, sub-step) order that can
    begin. `devices` None is as many as can be used, pipelined and greedy only.
    """

    def call(steps: Sequence[int]) -> float:
        return call_seconds([step for step in steps for _ in range(rows)])

    if form == "serial":
        seconds = sum(count * call([step]) for step, count in enumerate(plan.work))
        return Replay(seconds, (seconds,))
    if form == "pipelined":
        graph = _Graph(plan, iterations, devices, call, hop_seconds)
        return graph.greedy() if order == "greedy" or devices is None else graph.program()
    assert devices is not None
    return _in_turns(plan, iterations, devices, call, hop_seconds, form == "batched")


def _in_turns(plan: BlockPlan, iterations: int, devices: int, call: Seconds, hop: float, stacked: bool) -> Replay:
    """Return the virtual time where every refinement ends before the next one begins.

    A refinement is scatter, solve, gather, and a sweep on device 0.
    """
    busy = [0.0] * devices
    now = busy[0] = sum(call([plan.start_step(i)]) for i in range(1, plan.blocks + 1))
    for p in range(1, iterations + 1):
        # fine solves on all devices, with a transfer there and back
        spans = []
        for rank in range(devices):
            solves = [plan.solve_steps(i) for i in plan.active(p) if owner(i, devices) == rank]
            # stacked, a rank solves its blocks in lockstep; a shorter one leaves the call at its end
            together = [[step for step in steps if step is not None] for steps in zip_longest(*solves)]
            calls = together if stacked else [[step] for solve in solves for step in solve]
            work = sum(map(call, calls))
            busy[rank] += work
            spans.append(work + (2 * hop if rank and solves else 0.0))

        # coarse sweep on device 0
        sweep = sum(call([plan.start_step(i)]) for i in plan.active(p) if plan.corrected(i, p))
        busy[0] += sweep
        now += max(spans) + sweep
    return Replay(now, tuple(busy))


Key = tuple[int, int, int]
"""Refinement, block and sub-step of an evaluation.

The last sub-step is the coarse step at the block's start.
"""


@dataclass
class _Task:
    device: Hashable
    seconds: float
    needs: list[tuple[Key, bool]] = field(default_factory=list)
    """Evaluations that must be done before, and whether the result comes from another device."""


class _Graph:
    """All evaluations of a pipelined run, in the (p, i) order of the program."""

    def __init__(self, plan: BlockPlan, iterations: int, devices: int | None, call: Seconds, hop: float) -> None:
        self.call = call
        self.hop = hop
        self.devices = devices
        self.tasks: dict[Key, _Task] = {}

        # by refinement and boundary: the evaluations that its state depends on
        made: dict[tuple[int, int], list[Key]] = {(p, 0): [] for p in range(iterations + 1)}
        began: dict[int, Key] = {}  # by block: its latest coarse step

        for p in range(iterations + 1):
            for i in plan.active(p):
                # fine solve
                start = made[p - 1, i - 1] if p else []
                last = [began[i]] if p and plan.share else []
                for j, step in enumerate(plan.solve_steps(i) if p else ()):
                    last = [self._add((p, i, j), step, last, [] if j or plan.share else start)]

                # coarse step
                if p == 0 or plan.corrected(i, p):
                    coarse = self._add((p, i, plan.fine_cost(i)), plan.start_step(i), [], made[p, i - 1])
                    last = [*last, coarse, *([began[i]] if p else [])]
                    began[i] = coarse
                made[p, i] = last
        self.final = made[iterations, plan.blocks]

    def greedy(self) -> Replay:
        """Return the time if a free device takes the first of its evaluations that can begin."""
        # dependencies both ways
        waiting = {key: len(task.needs) for key, task in self.tasks.items()}
        dependents: dict[Key, list[Key]] = defaultdict(list)
        for key, task in self.tasks.items():
            for need, _ in task.needs:
                dependents[need].append(key)

        # state of the devices
        ready: dict[Hashable, list[Key]] = defaultdict(list)
        idle = {task.device for task in self.tasks.values()}
        busy: dict[Hashable, float] = defaultdict(float)
        done: dict[Key, float] = {}

        # events: (time, 0 if its inputs are there or 1 if it is done, key)
        events: list[tuple[float, int, Key]] = [(0.0, 0, key) for key, count in waiting.items() if not count]
        heapq.heapify(events)
        while events:
            now = events[0][0]
            touched = set()

            # all events of this moment
            while events and events[0][0] == now:
                _, kind, key = heapq.heappop(events)
                device = self.tasks[key].device
                touched.add(device)
                if kind == 0:
                    heapq.heappush(ready[device], key)
                    continue
                done[key] = now
                idle.add(device)
                for dependent in dependents[key]:
                    waiting[dependent] -= 1
                    if not waiting[dependent]:
                        heapq.heappush(events, (self._arrival(dependent, done), 0, dependent))

            # start what is ready on free devices
            for device in touched & idle:
                if ready[device]:
                    key = heapq.heappop(ready[device])
                    idle.discard(device)
                    busy[device] += self.tasks[key].seconds
                    heapq.heappush(events, (now + self.tasks[key].seconds, 1, key))
        return self._replay(done, busy)

    def program(self) -> Replay:
        """Return the time if every device keeps to the program's order, and waits for inputs where it must."""
        done: dict[Key, float] = {}
        free: dict[Hashable, float] = defaultdict(float)
        busy: dict[Hashable, float] = defaultdict(float)
        for key, task in self.tasks.items():
            done[key] = free[task.device] = max(free[task.device], self._arrival(key, done)) + task.seconds
            busy[task.device] += task.seconds
        return self._replay(done, busy)

    def _add(self, key: Key, step: int, own: list[Key], start: list[Key]) -> Key:
        """Add an evaluation at a step of the grid.

        It needs `own` of its block and `start` of the block before.
        """
        device: Hashable = key if self.devices is None else owner(key[1], self.devices)
        needs = [(need, False) for need in own] + [(need, self.tasks[need].device != device) for need in start]
        self.tasks[key] = _Task(device, self.call([step]), needs)
        return key

    def _arrival(self, key: Key, done: dict[Key, float]) -> float:
        return max((done[need] + self.hop * away for need, away in self.tasks[key].needs), default=0.0)

    def _replay(self, done: dict[Key, float], busy: dict[Hashable, float]) -> Replay:
        devices = busy if self.devices is None else range(self.devices)
        return Replay(max(done[key] for key in self.final), tuple(busy[device] for device in devices))
