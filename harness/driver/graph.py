"""Which task waits for which, by counters: what ends touches its dependents alone, and what is ready lies in heaps."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Iterable

from harness.task import Failure, Task

Order = tuple[int, ...]
"""Place in the plan; less comes first."""
_FIRST = (-1,)


class Graph:
    """The tasks that are still to be done. A task is ready when all that it waits for has ended well."""

    def __init__(self, ended: Callable[[str], None] = lambda task_id: None) -> None:
        """`ended` is told of every task that ends, well or not."""
        self.tasks: dict[str, Task] = {}
        self.failed: dict[str, Failure] = {}
        self._ended = ended
        self._order: dict[str, Order] = {}
        self._unmet: dict[str, int] = {}
        self._dependents: dict[str, list[str]] = defaultdict(list)
        self._ready: dict[tuple[bool, int], list[tuple[Order, str]]] = defaultdict(list)
        self._queued: dict[bool, set[str]] = {True: set(), False: set()}
        self._open = {True: 0, False: 0}

    def __len__(self) -> int:
        """Return how many tasks have neither ended nor failed."""
        return sum(self._open.values())

    def __contains__(self, task_id: str) -> bool:
        return task_id in self.tasks

    def add(self, task: Task, order: Order) -> None:
        """Take in a task; what it waits for and is not in the graph has ended well."""
        self.tasks[task.id], self._order[task.id] = task, order
        self._open[task.exclusive] += 1
        self._unmet[task.id] = 0
        self.hold(task.id, task.needs)

    def _wait(self, task_id: str, needs: Iterable[str]) -> bool:
        """Let a task that was not started wait for these too; return whether one of them has not ended."""
        found = False
        for need in needs:
            if need in self.failed:
                self.fail(task_id, self.failed[need])
            elif need in self.tasks:
                self._dependents[need].append(task_id)
                self._unmet[task_id] += 1
                found = True
        return found

    def order_before(self, task_id: str, number: int) -> Order:
        """Return the place of one of several tasks that come right before a task."""
        first, *rest = self._order[task_id]
        return (first - 1, 1, *rest, number)

    def take(self, exclusive: bool, devices: int) -> Task | None:
        """Return the first ready task that so many devices can do, or None; it counts as started."""
        heaps = [heap for (alone, ranks), heap in self._ready.items() if alone == exclusive and ranks <= devices]
        while heaps := [heap for heap in heaps if heap]:
            _, task_id = heapq.heappop(min(heaps))
            if task_id in self._queued[exclusive]:
                self._queued[exclusive].discard(task_id)
                return self.tasks[task_id]
        return None

    def larger(self, devices: int) -> list[Task]:
        """Return the ready tasks that need more devices than there are in all."""
        heaps = [heap for (_, ranks), heap in self._ready.items() if ranks > devices]
        queued = self._queued[True] | self._queued[False] if heaps else set()
        return [self.tasks[task_id] for heap in heaps for _, task_id in heap if task_id in queued]

    def again(self, task_id: str) -> None:
        """Make a started task ready once more, before all others."""
        self._order[task_id] = _FIRST
        self._push(self.tasks[task_id])

    def hold(self, task_id: str, needs: Iterable[str]) -> None:
        """Put a task that was taken back until these have ended."""
        if not self._wait(task_id, needs) and task_id in self.tasks:
            self._push(self.tasks[task_id])

    def finish(self, task_id: str) -> None:
        """Note that a task has ended well."""
        self._close(task_id)
        self._ended(task_id)
        for dependent in self._dependents.pop(task_id, ()):
            if dependent not in self.tasks:
                continue
            self._unmet[dependent] -= 1
            if not self._unmet[dependent]:
                self._push(self.tasks[dependent])

    def fail(self, task_id: str, failure: Failure) -> None:
        """Note that a task has failed, and with it all that wait for it."""
        todo = [task_id]
        while todo:
            one = todo.pop()
            if one in self.failed:
                continue
            self.failed[one] = failure
            if one in self.tasks:
                self._close(one)
            self._ended(one)
            todo += self._dependents.pop(one, ())

    def ready(self, exclusive: bool) -> int:
        """Return how many tasks of a kind are ready and not started."""
        return len(self._queued[exclusive])

    def left(self, exclusive: bool) -> int:
        """Return how many tasks of a kind have not ended, started ones among them."""
        return self._open[exclusive]

    def _close(self, task_id: str) -> None:
        task = self.tasks.pop(task_id)
        self._queued[task.exclusive].discard(task_id)
        self._open[task.exclusive] -= 1

    def _push(self, task: Task) -> None:
        self._queued[task.exclusive].add(task.id)
        heapq.heappush(self._ready[task.exclusive, task.ranks], (self._order[task.id], task.id))
