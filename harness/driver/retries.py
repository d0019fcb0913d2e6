"""How often a task is tried again, and whether it is a worker's death or its own fault."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable

from harness.task import Failure

RETRIES = {"inputs-lost": 2, "out-of-memory": 1}
"""How often a task is tried again after a failure that may not be its own; never with a smaller batch."""
OWN_DEATHS = 3
"""So many workers in a row that die of one task, no other having died about then, are the task's own failure."""
CLOSE_SECONDS = 10.0
"""Deaths so close together, of different tasks, are the machine's or the scheduler's: preemption, a lost node."""
MOST_DEATHS = 20
"""So many deaths of one task end it, whatever else died."""


class Retries:
    """The failures of every task so far. A death counts against the worker first, then against its task."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: dict[str, int] = defaultdict(int)
        self._deaths: list[tuple[float, str]] = []

    def attempts(self, task_id: str) -> int:
        """Return how often a task has failed."""
        return self._failures[task_id]

    def again(self, task_id: str, failure: Failure) -> str | None:
        """Note a failure; return "(n of m)" if the task is to be tried again, None if the failure is its own."""
        self._failures[task_id] += 1
        if failure.kind != "worker-died":
            most = RETRIES.get(failure.kind, 0)
            return f"({self._failures[task_id]} of {most})" if self._failures[task_id] <= most else None
        self._deaths.append((self._clock(), task_id))
        mine, own = self._mine(task_id), self._own(task_id)
        if own >= OWN_DEATHS or mine >= MOST_DEATHS:
            return None
        alone = self._alone(self._deaths[-1])
        return f"({own} of {OWN_DEATHS - 1})" if alone else "(others died with it)"

    def _mine(self, task_id: str) -> int:
        return sum(1 for _, other in self._deaths if other == task_id)

    def _own(self, task_id: str) -> int:
        """Return the deaths of a task about which no other task lost a worker."""
        return sum(1 for death in self._deaths if death[1] == task_id and self._alone(death))

    def _alone(self, death: tuple[float, str]) -> bool:
        when, task_id = death
        return not any(other != task_id and abs(when - then) <= CLOSE_SECONDS for then, other in self._deaths)
