"""A graph gives tasks in the order of the plan, each once, when what they wait for has ended."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.driver.graph import Graph
from harness.task import Failure

BROKEN = Failure("ValueError", "broken")


@dataclass(frozen=True)
class Toy:
    """As much of a task as a graph asks for."""

    id: str
    needs: tuple[str, ...] = ()
    ranks: int = 1
    exclusive: bool = False


def graph(*tasks: Toy) -> tuple[Graph, list[str]]:
    ended: list[str] = []
    made = Graph(ended.append)
    for number, task in enumerate(tasks):
        one: Any = task
        made.add(one, (number,))
    return made, ended


def taken(made: Graph, devices: int = 1, exclusive: bool = False) -> str | None:
    task = made.take(exclusive, devices)
    return None if task is None else task.id


def test_a_task_is_taken_once_in_order_when_its_needs_have_ended() -> None:
    made, ended = graph(Toy("a"), Toy("b", ("a",)), Toy("c"))
    assert [taken(made), taken(made), taken(made)] == ["a", "c", None]
    made.finish("c")
    assert taken(made) is None
    made.finish("a")
    assert [taken(made), taken(made)] == ["b", None]
    made.finish("b")
    assert (len(made), ended) == (0, ["c", "a", "b"])


def test_a_failure_fails_all_that_wait_for_it_and_nothing_else() -> None:
    made, ended = graph(Toy("a"), Toy("b", ("a",)), Toy("c", ("b",)), Toy("d"))
    assert taken(made) == "a"
    made.fail("a", BROKEN)
    assert made.failed == dict.fromkeys("abc", BROKEN)
    assert sorted(ended) == ["a", "b", "c"]
    late: Any = Toy("e", ("c",))
    made.add(late, (9,))
    assert "e" in made.failed
    assert taken(made) == "d"
    assert len(made) == 1


def test_exclusive_and_large_tasks_are_asked_for_apart() -> None:
    made, _ = graph(Toy("time", exclusive=True), Toy("pair", ranks=2), Toy("one"))
    assert (made.ready(True), made.ready(False), made.left(False)) == (1, 2, 2)
    assert taken(made, devices=1) == "one"
    assert taken(made, devices=1) is None
    assert taken(made, devices=2) == "pair"
    assert taken(made, exclusive=True) == "time"
    assert (made.ready(True), made.ready(False), made.left(False)) == (0, 0, 2)


def test_a_task_that_no_pool_can_do_is_named_until_it_has_failed() -> None:
    made, _ = graph(Toy("five", ranks=5), Toy("one"))
    assert [task.id for task in made.larger(2)] == ["five"]
    made.fail("five", BROKEN)
    assert made.larger(2) == []
    assert made.ready(False) == 1


def test_a_task_that_is_tried_again_comes_before_all_others() -> None:
    made, _ = graph(Toy("a"), Toy("b"), Toy("c"))
    assert [taken(made), taken(made)] == ["a", "b"]
    made.again("b")
    assert [taken(made), taken(made)] == ["b", "c"]


def test_a_search_waits_for_its_jobs_which_come_right_before_it() -> None:
    made, _ = graph(Toy("a"), Toy("search"), Toy("z"))
    assert [taken(made), taken(made)] == ["a", "search"]
    for number, name in enumerate(("job-2", "job-1")):
        job: Any = Toy(name)
        made.add(job, made.order_before("search", number))
    made.hold("search", ["job-2", "job-1"])
    assert [taken(made), taken(made), taken(made)] == ["job-2", "job-1", "z"]
    made.finish("job-1")
    assert taken(made) is None
    made.finish("job-2")
    assert taken(made) == "search"
    made.hold("search", ["job-1"])  # it has ended: nothing to wait for
    assert taken(made) == "search"


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 40), st.floats(0, 0.3))
def test_random_graphs_do_what_a_plain_rule_does(seed: int, size: int, fails: float) -> None:
    rng = random.Random(seed)
    names = [f"t{number:02}" for number in range(size)]
    tasks = [
        Toy(name, tuple(rng.sample(names[:number], rng.randint(0, min(number, 3)))), exclusive=rng.random() < 0.2)
        for number, name in enumerate(names)
    ]
    broken = {name for name in names if rng.random() < fails}
    made, ended = graph(*tasks)
    by_name, done, failed, running = {task.id: task for task in tasks}, set(), set(), set()
    while len(made):
        exclusive = rng.random() < 0.5
        ready = [
            task.id
            for task in tasks
            if task.exclusive == exclusive
            and task.id not in done | failed | running
            and all(need in done for need in task.needs)
        ]
        found = taken(made, exclusive=exclusive)
        assert found == (ready[0] if ready else None)
        if found is not None:
            running.add(found)
        if running and (found is None or rng.random() < 0.5):
            one = rng.choice(sorted(running))
            running.discard(one)
            if one in broken:
                made.fail(one, BROKEN)
                failed.add(one)
                while more := {t.id for t in tasks if t.id not in failed and failed & set(t.needs)}:
                    failed |= more
            else:
                made.finish(one)
                done.add(one)
    assert (set(made.failed), set(ended)) == (failed, done | failed)
    assert set(by_name) == done | failed
    assert len(ended) == len(names)


@pytest.mark.parametrize("size", [1000, 4000])
def test_what_ends_touches_its_dependents_alone(size: int) -> None:
    """By the number of heap entries looked at, which grows with the tasks and not with their square."""
    made, _ = graph(*(Toy(f"t{number}", ("t0",) if number else ()) for number in range(size)))
    assert made.ready(False) == 1
    count = 0
    while (task := made.take(False, 1)) is not None:
        made.finish(task.id)
        count += 1
    assert count == size
    assert all(not heap for heap in made._ready.values())
