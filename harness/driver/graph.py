"""The graph of unfinished tasks. A node is a task; what starts and ends is a unit of it.

Each node counts the tasks it waits for. An end touches its dependents only; ready tasks lie in
heaps.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from harness.task import Failure, Task, Unit

Order = tuple[int, ...]
"""Place in the plan; smaller comes first."""
_FIRST = (-1,)
_LOOK_AHEAD = 8
"""So many ready tasks are looked at for one whose network is loaded."""
_MOST_PASSED = 16
"""So often another task's unit is started before those of a task that comes first."""


@dataclass
class _Node:
    """A task and its units that are left."""

    task: Task
    order: Order
    queued: deque[int]
    """Numbers of units not started yet."""
    open: set[int]
    """Numbers of units not ended yet."""
    unmet: int = 0
    """Number of tasks it still waits for."""
    dependents: list[str] = field(default_factory=list)
    passed: int = 0
    """How often a unit of a later task was started before its own."""


class Graph:
    """The unfinished tasks. A task is ready when all tasks that it waits for have succeeded."""

    def __init__(
        self, on_task_end: Callable[[str], None] = lambda task_id: None, failed: dict[str, Failure] | None = None
    ) -> None:
        """`on_task_end` is called for each ended task; `failed` receives the failures."""
        self.failed: dict[str, Failure] = {} if failed is None else failed
        self._nodes: dict[str, _Node] = {}
        self._on_task_end = on_task_end
        self._ready: dict[tuple[bool, int], list[tuple[Order, str]]] = defaultdict(list)
        self._queued_units = {True: 0, False: 0}  # of ready tasks
        self._open_units = {True: 0, False: 0}
        self._unstarted = {True: 0, False: 0}
        self.dropped_units = 0
        """Units never started because their task, or one that it waits for, has failed."""

    def __len__(self) -> int:
        """Return how many units have not ended."""
        return sum(self._open_units.values())

    def __contains__(self, task_id: str) -> bool:
        return task_id in self._nodes

    def task(self, task_id: str) -> Task:
        """Return a task that has not ended."""
        return self._nodes[task_id].task

    # building

    def add_task(self, task: Task, order: Order, units: Iterable[int] = (0,)) -> None:
        """Add a task with the units that are missing.

        Needs that are not in the graph count as done.
        """
        todo = sorted(units)
        node = self._nodes[task.id] = _Node(task, order, deque(todo), set(todo))
        self._open_units[task.exclusive] += len(todo)
        self._unstarted[task.exclusive] += len(todo)
        self._queue_unless_waiting(node, task.needs)

    def requeue_behind(self, unit: Unit, needs: Iterable[str]) -> None:
        """Put back a unit that was taken, until these tasks have ended."""
        node = self._nodes.get(unit.task.id)
        if node is None:
            return
        if not node.unmet:
            self._queued_units[node.task.exclusive] -= len(node.queued)
        node.queued.appendleft(unit.number)
        self._unstarted[node.task.exclusive] += 1
        self._queue_unless_waiting(node, needs)

    def order_before(self, task_id: str, number: int) -> Order:
        """Return the place of the `number`-th of several tasks right before a task."""
        first, *rest = self._nodes[task_id].order
        return (first - 1, 1, *rest, number)

    # starting

    def take_ready_unit(
        self, exclusive: bool, devices: int, is_preferred: Callable[[Task], bool] | None = None
    ) -> Unit | None:
        """Return the first ready unit that needs at most `devices`, or None.

        It counts as started. With `is_preferred`, one of the next tasks that are may come before a first one that is
        not: of few tasks, and not often.
        """
        node = self._first_ready(exclusive, devices)
        if node is None:
            return None
        if is_preferred is not None:
            node = self._first_preferred(node, is_preferred)
        self._queued_units[exclusive] -= 1
        self._unstarted[exclusive] -= 1
        return node.task.unit(node.queued.popleft())

    def first_ready_task(self, exclusive: bool) -> Task | None:
        """Return the first task of a kind with a ready unit, whatever devices it needs; None if there is none."""
        node = self._first_ready(exclusive)
        return None if node is None else node.task

    def tasks_larger_than(self, devices: int) -> list[Task]:
        """Return the ready tasks that need more than `devices` at once."""
        heaps = [heap for (_, ranks), heap in self._ready.items() if ranks > devices]
        found = {task_id: self._nodes[task_id] for heap in heaps for _, task_id in heap if task_id in self._nodes}
        return [node.task for node in found.values() if node.queued and not node.unmet]

    def most_ranks(self, exclusive: bool) -> int:
        """Return the most devices that a ready task of a kind needs at once.

        1 if there is none.
        """
        return max((ranks for (alone, ranks), heap in self._ready.items() if alone == exclusive and heap), default=1)

    def restart_unit(self, unit: Unit) -> None:
        """Make a started unit ready again, before all others."""
        node = self._nodes.get(unit.task.id)
        if node is None:
            return
        node.queued.appendleft(unit.number)
        self._unstarted[node.task.exclusive] += 1
        node.order = _FIRST
        if not node.unmet:
            self._queued_units[node.task.exclusive] += 1
            heapq.heappush(self._ready[node.task.exclusive, node.task.ranks], (node.order, node.task.id))

    # ending

    def finish_unit(self, unit: Unit) -> None:
        """Note that a unit has succeeded. A task ends with its last unit."""
        node = self._nodes.get(unit.task.id)
        if node is None or unit.number not in node.open:
            return
        node.open.discard(unit.number)
        self._open_units[node.task.exclusive] -= 1
        if node.open:
            return

        # its last unit: whatever waits for it may be ready now
        self._close(node)
        self._on_task_end(node.task.id)
        for task_id in node.dependents:
            dependent = self._nodes.get(task_id)
            if dependent is None:
                continue
            dependent.unmet -= 1
            if not dependent.unmet:
                self._queue(dependent)

    def fail_task(self, task_id: str, failure: Failure) -> None:
        """Fail a task and all tasks that wait for it."""
        todo = [task_id]
        while todo:
            one = todo.pop()
            node = self._nodes.get(one)
            if node is None and one in self.failed:
                continue
            self.failed[one] = failure
            if node is not None:
                self.dropped_units += len(node.queued)
                self._close(node)
                todo += node.dependents
            self._on_task_end(one)

    def is_open(self, unit: Unit) -> bool:
        """Tell whether a unit has not ended."""
        node = self._nodes.get(unit.task.id)
        return node is not None and unit.number in node.open

    def is_task_open(self, task_id: str) -> bool:
        """Tell whether a task of this run has not ended."""
        return task_id in self._nodes

    # counting

    def count_ready(self, exclusive: bool) -> int:
        """Return the number of units of a kind that are ready and not started."""
        return self._queued_units[exclusive]

    def count_open_by_kind(self) -> Counter[str]:
        """Return the number of units that have not ended, by the kind of their task."""
        counts: Counter[str] = Counter()
        for node in self._nodes.values():
            counts[node.task.kind] += len(node.open)
        return counts

    def count_unstarted(self, exclusive: bool) -> int:
        """Return the number of units of a kind that are not started, ready or not."""
        return self._unstarted[exclusive]

    def _queue_unless_waiting(self, node: _Node, needs: Iterable[str]) -> None:
        """Count further tasks that a task waits for; make it ready if there are none.

        It must not be queued.
        """
        for need in needs:
            if need in self.failed:
                node.unmet += 1
                self.fail_task(node.task.id, self.failed[need])
                return
            if need in self._nodes:
                self._nodes[need].dependents.append(node.task.id)
                node.unmet += 1
        if not node.unmet:
            self._queue(node)

    def _queue(self, node: _Node) -> None:
        self._queued_units[node.task.exclusive] += len(node.queued)
        heapq.heappush(self._ready[node.task.exclusive, node.task.ranks], (node.order, node.task.id))

    def _first_ready(self, exclusive: bool, devices: float = math.inf) -> _Node | None:
        """Return the first node with a ready unit that needs at most `devices`, or None."""
        heaps = [heap for (alone, ranks), heap in self._ready.items() if alone == exclusive and ranks <= devices]
        while heaps := [heap for heap in heaps if heap]:
            first = min(heaps)
            node = self._nodes.get(first[0][1])
            if node is not None and node.queued and not node.unmet:
                return node
            heapq.heappop(first)  # its task has ended, has no unit left, or waits again
        return None

    def _first_preferred(self, first: _Node, is_preferred: Callable[[Task], bool]) -> _Node:
        """Return the first of the next ready nodes that is preferred, else the first node."""
        if first.order == _FIRST or first.passed >= _MOST_PASSED or is_preferred(first.task):
            return first
        heap = self._ready[first.task.exclusive, first.task.ranks]
        for _, task_id in _smallest(heap, _LOOK_AHEAD):
            node = self._nodes.get(task_id)
            if node is not None and node.queued and not node.unmet and is_preferred(node.task):
                first.passed += 1
                return node
        return first

    def _close(self, node: _Node) -> None:
        del self._nodes[node.task.id]
        exclusive = node.task.exclusive
        self._open_units[exclusive] -= len(node.open)
        self._unstarted[exclusive] -= len(node.queued)
        if not node.unmet:
            self._queued_units[exclusive] -= len(node.queued)


def _smallest(heap: list[tuple[Order, str]], count: int) -> Iterator[tuple[Order, str]]:
    """Yield the first entries of a heap in their order, without a look at the others."""
    next_ones = [(heap[0], 0)] if heap else []
    for _ in range(min(count, len(heap))):
        entry, place = heapq.heappop(next_ones)
        yield entry
        for child in (2 * place + 1, 2 * place + 2):
            if child < len(heap):
                heapq.heappush(next_ones, (heap[child], child))
