"""The wall time of tasks on workers: what runs in parallel, the longest chain, and timings that want a host alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.task import Task


@dataclass(frozen=True)
class TaskSeconds:
    """Device-seconds of what is left of a task, over all its ranks once, and how long its parts take in a row."""

    total: float
    chain: float
    """At least so long it takes on any number of workers: its longest unit, or its rounds one after the other."""


def schedule_seconds(
    tasks: Mapping[str, Task], seconds: Mapping[str, TaskSeconds], workers: int, hosts: int = 1
) -> float:
    """Return the wall seconds of these tasks; those without seconds are done.

    The parallel part is shared by all workers, but never shorter than its longest chain. An exclusive task takes a
    whole host, so these come on top.
    """
    shared = {task_id: one for task_id, one in seconds.items() if not tasks[task_id].exclusive}
    parallel = sum(one.total * min(tasks[task_id].ranks, workers) for task_id, one in shared.items()) / workers
    alone = sum(one.total for task_id, one in seconds.items() if task_id not in shared)

    return max(parallel, _longest_chain(tasks, shared, workers)) + alone / hosts


def _longest_chain(tasks: Mapping[str, Task], seconds: Mapping[str, TaskSeconds], workers: int) -> float:
    """Return the seconds of the longest chain of tasks that wait for each other."""
    ends: dict[str, float] = {}

    def end_of(task_id: str) -> float:
        if task_id not in ends:
            one = seconds.get(task_id, TaskSeconds(0.0, 0.0))
            before = max((end_of(need) for need in tasks[task_id].needs if need in tasks), default=0.0)
            ends[task_id] = before + max(one.chain, one.total / workers)
        return ends[task_id]

    return max(map(end_of, seconds), default=0.0)
