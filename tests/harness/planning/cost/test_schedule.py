"""The wall time of tasks on workers, in closed form."""

from __future__ import annotations

from typing import Any

from harness.planning.cost.schedule import TaskSeconds, schedule_seconds
from harness.specs.base import Policy, Spec
from harness.task import Task


class Some(Spec):
    """A task of one worker."""

    kind = "some"
    entry = "nowhere"
    wide: int = 1

    def ranks(self) -> int:
        return self.wide


class Alone(Some):
    """A task that wants a host alone."""

    policy = Policy(exclusive=True)


def of(*tasks: Task) -> dict[str, Task]:
    return {task.id: task for task in tasks}


def some(id: str, *after: str, spec: Any = None) -> Task:
    return Task(id, spec or Some(), id, after=after)


def flat(**seconds: float) -> dict[str, TaskSeconds]:
    return {id: TaskSeconds(total, total) for id, total in seconds.items()}


def test_independent_tasks_are_shared_by_the_workers() -> None:
    tasks = of(some("a"), some("b"), some("c"), some("d"))
    assert schedule_seconds(tasks, flat(a=3, b=3, c=3, d=3), 2) == 6
    assert schedule_seconds(tasks, flat(a=3, b=3, c=3, d=3), 100) == 3


def test_a_chain_is_no_faster_on_more_workers() -> None:
    tasks = of(some("a"), some("b", "a"), some("c", "b"), some("d"))
    assert schedule_seconds(tasks, flat(a=5, b=5, c=5, d=1), 8) == 15
    assert schedule_seconds(tasks, flat(b=5, c=5, d=1), 8) == 10  # the first is done


def test_units_of_a_task_run_side_by_side() -> None:
    tasks = of(some("a"), some("b", "a"))
    seconds = {"a": TaskSeconds(total=12, chain=1), "b": TaskSeconds(total=2, chain=2)}
    assert schedule_seconds(tasks, seconds, 4) == 12 / 4 + 2


def test_timings_come_on_top_once_a_host() -> None:
    tasks = of(some("a"), some("b"), some("t", spec=Alone()), some("u", spec=Alone()))
    assert schedule_seconds(tasks, flat(a=4, b=4, t=3, u=5), 2) == 4 + 8
    assert schedule_seconds(tasks, flat(a=4, b=4, t=3, u=5), 4, hosts=2) == 4 + 4


def test_a_task_of_several_ranks_takes_as_many_workers() -> None:
    tasks = of(some("a", spec=Some(wide=4)), some("b"))
    assert schedule_seconds(tasks, flat(a=6, b=2), 4) == (6 * 4 + 2) / 4


def test_nothing_takes_no_time() -> None:
    assert schedule_seconds(of(some("a")), {}, 2) == 0.0
