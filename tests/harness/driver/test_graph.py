"""A graph gives the units of tasks in the order of the plan, each once, when what they wait for has ended."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.driver.graph import Graph
from harness.task import Failure, Unit

BROKEN = Failure("ValueError", "broken")


@dataclass(frozen=True)
class Toy:
    """As much of a task as a graph asks for."""

    id: str
    needs: tuple[str, ...] = ()
    ranks: int = 1
    exclusive: bool = False
    size: int = 1

    def unit(self, number: int) -> Unit:
        task: Any = self
        return Unit(task, number)


def add(made: Graph, task: Toy, order: tuple[int, ...]) -> None:
    one: Any = task
    made.add_task(one, order, range(task.size))


def graph(*tasks: Toy) -> tuple[Graph, list[str]]:
    ended: list[str] = []
    made = Graph(ended.append)
    for number, task in enumerate(tasks):
        add(made, task, (number,))
    return made, ended


def named(unit: Unit | None) -> str | None:
    """Return a unit as "task", or as "task/number" after the first."""
    return None if unit is None else unit.task.id + (f"/{unit.number}" if unit.number else "")


def taken(made: Graph, devices: int = 1, exclusive: bool = False) -> str | None:
    return named(made.take_ready_unit(exclusive, devices))


def unit(name: str, **more: Any) -> Unit:
    task_id, _, number = name.partition("/")
    return Toy(task_id, **more).unit(int(number or 0))


def test_a_task_is_taken_once_in_order_when_its_needs_have_ended() -> None:
    made, ended = graph(Toy("a"), Toy("b", ("a",)), Toy("c"))
    assert [taken(made), taken(made), taken(made)] == ["a", "c", None]
    made.finish_unit(unit("c"))
    assert taken(made) is None
    made.finish_unit(unit("a"))
    assert [taken(made), taken(made)] == ["b", None]
    made.finish_unit(unit("b"))
    assert (len(made), ended) == (0, ["c", "a", "b"])


def test_units_are_taken_one_by_one_and_their_task_ends_with_the_last_of_them() -> None:
    made, ended = graph(Toy("a", size=3), Toy("b", ("a",)))
    assert (made.count_ready(False), made.count_unstarted(False), len(made)) == (3, 4, 4)
    assert [taken(made) for _ in range(4)] == ["a", "a/1", "a/2", None]
    for name in ("a/2", "a"):
        made.finish_unit(unit(name))
        made.finish_unit(unit(name))  # a straggler's second result
    assert (ended, made.is_open(unit("a")), made.is_open(unit("a/1"))) == ([], False, True)
    made.finish_unit(unit("a/1"))
    assert (ended, taken(made)) == (["a"], "b")


def test_of_a_task_only_the_units_that_are_missing_are_taken() -> None:
    made, ended = graph()
    one: Any = Toy("a", size=9)
    made.add_task(one, (0,), [7, 4])
    assert [taken(made), taken(made), taken(made)] == ["a/4", "a/7", None]
    made.finish_unit(unit("a/4"))
    made.finish_unit(unit("a/7"))
    assert (ended, len(made)) == (["a"], 0)


def test_a_failure_fails_all_that_wait_for_it_and_nothing_else() -> None:
    made, ended = graph(Toy("a", size=2), Toy("b", ("a",)), Toy("c", ("b",)), Toy("d"))
    assert taken(made) == "a"
    made.fail_task("a", BROKEN)
    assert made.failed == dict.fromkeys("abc", BROKEN)
    assert sorted(ended) == ["a", "b", "c"]
    add(made, Toy("e", ("c",)), (9,))
    assert "e" in made.failed
    assert made.count_ready(False) == 1
    assert taken(made) == "d"
    assert (len(made), made.count_ready(False)) == (1, 0)
    made.finish_unit(unit("a"))
    made.restart_unit(unit("a"))  # what comes late of a task that has failed changes nothing
    assert (taken(made), len(made)) == (None, 1)


def test_exclusive_and_large_tasks_are_asked_for_apart() -> None:
    made, _ = graph(Toy("time", exclusive=True), Toy("pair", ranks=2), Toy("one"))
    assert (made.count_ready(True), made.count_ready(False), made.count_unstarted(False)) == (1, 2, 2)
    assert taken(made, devices=0) is None
    assert taken(made, devices=1) == "one"
    assert taken(made, devices=1) is None
    assert (made.most_ranks(False), made.most_ranks(True)) == (2, 1)
    assert taken(made, devices=2) == "pair"
    assert taken(made, exclusive=True) == "time"
    assert (made.count_ready(True), made.count_ready(False), made.count_unstarted(False)) == (0, 0, 0)


def test_the_first_task_that_is_ready_is_told_whatever_devices_it_needs_and_stays() -> None:
    made, _ = graph(Toy("time", exclusive=True), Toy("one"), Toy("late", ("one",)), Toy("pair", ranks=2), Toy("last"))
    for name in ("one", "pair", "last"):
        first: Any = made.first_ready_task(False)
        assert first.id == name == taken(made, devices=2)
    assert made.first_ready_task(False) is None
    made.finish_unit(unit("one"))
    made.fail_task("late", BROKEN)
    assert made.first_ready_task(False) is None
    assert taken(made, exclusive=True) == "time"


def test_a_task_that_no_pool_can_do_is_named_until_it_has_failed() -> None:
    made, _ = graph(Toy("five", ranks=5), Toy("one"))
    assert [task.id for task in made.tasks_larger_than(2)] == ["five"]
    made.fail_task("five", BROKEN)
    assert made.tasks_larger_than(2) == []
    assert made.count_ready(False) == 1


def test_a_unit_that_is_tried_again_comes_before_all_others() -> None:
    made, _ = graph(Toy("a"), Toy("b"), Toy("c"))
    assert [taken(made), taken(made)] == ["a", "b"]
    made.restart_unit(unit("b"))
    assert made.count_ready(False) == 2
    assert [taken(made), taken(made)] == ["b", "c"]


def test_a_search_waits_for_its_jobs_which_come_right_before_it() -> None:
    made, _ = graph(Toy("a"), Toy("search"), Toy("z"))
    assert [taken(made), taken(made)] == ["a", "search"]
    for number, name in enumerate(("job-2", "job-1")):
        add(made, Toy(name), made.order_before("search", number))
    made.requeue_behind(unit("search"), ["job-2", "job-1"])
    assert [taken(made), taken(made), taken(made)] == ["job-2", "job-1", "z"]
    made.finish_unit(unit("job-1"))
    assert taken(made) is None
    made.finish_unit(unit("job-2"))
    assert taken(made) == "search"
    made.requeue_behind(unit("search"), ["job-1"])  # it has ended: nothing to wait for
    assert taken(made) == "search"


def test_all_units_of_a_task_wait_when_one_finds_that_something_was_lost() -> None:
    made, _ = graph(Toy("a", size=3))
    first = made.take_ready_unit(False, 1)
    assert first is not None
    add(made, Toy("lost"), made.order_before("a", 0))
    made.requeue_behind(first, ["lost"])
    assert made.count_ready(False) == 1
    assert [taken(made), taken(made)] == ["lost", None]
    made.finish_unit(unit("lost"))
    assert made.count_ready(False) == 3
    assert [taken(made) for _ in range(4)] == ["a", "a/1", "a/2", None]
    made.requeue_behind(first, ["lost"])
    made.fail_task("a", BROKEN)
    assert (made.count_ready(False), len(made)) == (0, 0)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 30), st.floats(0, 0.2))
def test_random_graphs_with_failures_and_kills_do_what_a_plain_scheduler_does(
    seed: int, size: int, fails: float
) -> None:
    """The plain scheduler looks at every task at every step; it knows no counters and no heaps."""
    rng = random.Random(seed)
    names = [f"t{number:02}" for number in range(size)]
    tasks = [
        Toy(
            name,
            tuple(rng.sample(names[:number], rng.randint(0, min(number, 3)))),
            ranks=rng.choice((1, 1, 1, 2)),
            exclusive=rng.random() < 0.2,
            size=rng.choice((1, 1, 2, 5)),
        )
        for number, name in enumerate(names)
    ]
    by_id = {task.id: task for task in tasks}
    broken = {name for name in names if rng.random() < fails}
    made, ended = graph(*tasks)

    queued = {task.id: list(range(task.size)) for task in tasks}
    left = {task.id: set(range(task.size)) for task in tasks}
    failed: set[str] = set()
    first: list[str] = []  # tasks of which a unit was killed: they come before all others
    running: list[Unit] = []

    def plain_choice(exclusive: bool, devices: int) -> str | None:
        """Return what the plain scheduler starts: the first unit in the plan's order, killed ones before."""
        ready = [
            task
            for task in sorted(tasks, key=lambda task: (task.id not in first, task.id))
            if task.exclusive == exclusive
            and task.ranks <= devices
            and task.id not in failed
            and queued[task.id]
            and all(not left[need] for need in task.needs)
        ]
        return named(ready[0].unit(queued[ready[0].id].pop(0))) if ready else None

    while len(made):
        assert len(made) == sum(len(left[name]) for name in names if name not in failed)
        exclusive, devices = rng.random() < 0.5, rng.choice((1, 2))
        found = made.take_ready_unit(exclusive, devices)
        assert named(found) == plain_choice(exclusive, devices)
        if found is not None:
            running.append(found)
        if not running or (found is not None and rng.random() < 0.5):
            continue
        one = running.pop(rng.randrange(len(running)))
        if one.task.id in failed:
            made.finish_unit(one)  # it comes too late
        elif rng.random() < 0.2:  # its worker was killed
            made.restart_unit(one)
            queued[one.task.id].insert(0, one.number)
            first.append(one.task.id)
        elif one.task.id in broken:
            made.fail_task(one.task.id, BROKEN)
            failed.add(one.task.id)
            while more := {task.id for task in tasks if task.id not in failed and failed & set(task.needs)}:
                failed |= more
        else:
            made.finish_unit(one)
            left[one.task.id].discard(one.number)

    assert set(made.failed) == failed
    assert sorted(ended) == sorted(by_id)
    assert all(not left[name] for name in names if name not in failed)
    assert (
        made.count_ready(True),
        made.count_ready(False),
        made.count_unstarted(True),
        made.count_unstarted(False),
    ) == (0, 0, 0, 0)


def test_a_task_that_failed_and_is_added_once_more_can_fail_once_more() -> None:
    made, ended = graph(Toy("a", size=3), Toy("b", ("a",)))
    assert taken(made) == "a"
    made.fail_task("a", BROKEN)
    assert made.dropped_units == 3  # two of "a" and "b"
    add(made, Toy("a"), (5,))
    assert taken(made) == "a"
    made.fail_task("a", BROKEN)
    assert (len(made), ended) == (0, ["a", "b", "a"])


@pytest.mark.parametrize("size", [1000, 4000])
def test_what_ends_touches_its_dependents_alone(size: int) -> None:
    """By the number of heap entries looked at, which grows with the tasks and not with their square."""
    made, _ = graph(*(Toy(f"t{number}", ("t0",) if number else ()) for number in range(size)))
    assert made.count_ready(False) == 1
    count = 0
    while (one := made.take_ready_unit(False, 1)) is not None:
        made.finish_unit(one)
        count += 1
    assert count == size
    assert sum(map(len, made._ready.values())) <= 1


def prefers(*names: str) -> Any:
    return lambda task: task.id in names


def test_a_preferred_task_of_the_next_ones_comes_before_a_first_one_that_is_not() -> None:
    made, _ = graph(Toy("a", size=2), Toy("b"), Toy("c", ("b",)), Toy("d"))
    assert named(made.take_ready_unit(False, 1, prefers("c", "d"))) == "d"  # c is not ready
    assert named(made.take_ready_unit(False, 1, prefers())) == "a"
    assert named(made.take_ready_unit(False, 1, prefers("a", "b"))) == "a/1"
    assert [taken(made), taken(made)] == ["b", None]


def test_a_first_task_is_passed_only_so_often_and_one_that_is_tried_again_never() -> None:
    made, _ = graph(Toy("a"), Toy("b", size=100))
    order = [named(made.take_ready_unit(False, 1, prefers("b"))) for _ in range(101)]
    assert 0 < order.index("a") < 20
    made, _ = graph(Toy("a"), Toy("b", size=3))
    lost = made.take_ready_unit(False, 1)
    assert lost is not None
    made.restart_unit(lost)
    assert named(made.take_ready_unit(False, 1, prefers("b"))) == "a"


def test_only_few_of_the_next_tasks_are_looked_at() -> None:
    looked: list[str] = []

    def note(task: Any) -> bool:
        looked.append(task.id)
        return False

    made, _ = graph(*(Toy(f"{number:03}") for number in range(500)))
    for number in range(500):
        looked.clear()
        assert named(made.take_ready_unit(False, 1, note)) == f"{number:03}"
        assert len(looked) <= 10


@given(st.permutations(range(40)), st.sets(st.integers(0, 39)), st.randoms(use_true_random=False))
@settings(max_examples=50, deadline=None)
def test_whatever_is_preferred_every_unit_is_taken_once(
    order: list[int], preferred: set[int], chance: random.Random
) -> None:
    made = Graph()
    for number in order:
        add(made, Toy(f"{number:02}", size=1 + number % 3), (number,))
    names = {f"{number:02}" for number in preferred}
    found = []
    while (one := made.take_ready_unit(False, 1, prefers(*names))) is not None:
        found.append(named(one))
        names = {name for name in names if chance.random() < 0.9}
    assert len(found) == len(set(found)) == sum(1 + number % 3 for number in range(40))
