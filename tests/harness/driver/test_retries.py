"""A death counts against the worker first; against its task where no other died about then, three times in a row."""

from __future__ import annotations

from typing import Any

from harness.driver.retries import Retries, describe_failure
from harness.specs.limits import CLOSE_SECONDS, MOST_DEATHS
from harness.task import Cut, Failure, Task, Unit

DEATH = Failure("worker-died", "the worker died", lost=True)


def unit(task: str, number: int = 0) -> Unit:
    spec: Any = None
    return Task(task, spec, task, Cut(0, 100, 10)).unit(number)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_task_that_kills_three_fresh_workers_is_its_own_failure() -> None:
    clock = Clock()
    made = Retries(clock)
    told = []
    for _ in range(3):
        clock.now += 1
        told.append(made.count_failure(unit("a"), DEATH))
    assert told == ["(1 of 2)", "(2 of 2)", None]
    assert made.attempts(unit("a")) == 3


def test_ten_workers_killed_close_together_fail_no_task() -> None:
    clock = Clock()
    made = Retries(clock)
    told = []
    for _ in range(5):
        for task in ("a", "b"):
            clock.now += 0.5
            told.append(made.count_failure(unit(task), DEATH))
    assert told == ["(1 of 2)", *["(others died with it)"] * 9]
    clock.now += 10 * CLOSE_SECONDS
    assert [made.count_failure(unit("a"), DEATH) for _ in range(3)] == [
        "(1 of 2)",
        "(2 of 2)",
        None,
    ]  # these are its own


def test_deaths_that_only_later_turn_out_to_be_shared_are_forgiven() -> None:
    clock = Clock()
    made = Retries(clock)
    made.count_failure(unit("a"), DEATH)
    made.count_failure(unit("a"), DEATH)
    clock.now = CLOSE_SECONDS
    made.count_failure(unit("b"), DEATH)
    assert made.count_failure(unit("a"), DEATH) is not None


def test_units_of_one_task_that_die_together_do_not_excuse_each_other() -> None:
    """As of a solver that always crashes, on two hundred devices at once."""
    clock = Clock()
    made = Retries(clock)
    deaths = 0
    while True:
        for number in range(200):
            clock.now += 0.001
            deaths += 1
            if made.count_failure(unit("crashes", number), DEATH) is None:
                assert deaths == 401
                return


def test_many_deaths_close_together_cost_no_more_each_than_a_few() -> None:
    """By the deaths that are looked at again: each turns shared once."""
    clock = Clock()
    made = Retries(clock)
    for number in range(2000):
        clock.now += 1e-4
        made.count_failure(unit(f"task-{number % 50}", number), DEATH)
    assert sum(map(len, made._alone.values())) <= 1


def test_kinds_of_failure_are_counted_apart() -> None:
    made = Retries(Clock())
    lost = Failure("inputs-lost", "gone")
    for _ in range(2):
        made.count_failure(unit("other"), DEATH)
        assert made.count_failure(unit("a"), DEATH) is not None
    assert [made.count_failure(unit("a"), lost) for _ in range(3)] == ["(1 of 2)", "(2 of 2)", None]


def test_even_shared_deaths_end() -> None:
    made = Retries(Clock())
    told = []
    for _ in range(MOST_DEATHS):
        made.count_failure(unit("other"), DEATH)
        told.append(made.count_failure(unit("a"), DEATH))
    assert None not in told[:-1]
    assert told[-1] is None


def test_other_failures_have_bounds_of_their_own() -> None:
    made = Retries(Clock())
    lost, memory, own = Failure("inputs-lost", "gone"), Failure("out-of-memory", "full"), Failure("ValueError", "no")
    assert [made.count_failure(unit("a"), lost) for _ in range(3)] == ["(1 of 2)", "(2 of 2)", None]
    assert [made.count_failure(unit("b"), memory) for _ in range(2)] == ["(1 of 1)", None]
    assert made.count_failure(unit("c"), own) is None
    gone = Failure("folder-gone", "the working folder is gone")
    assert [made.count_failure(unit("d"), gone) for _ in range(3)] == ["(1 of 2)", "(2 of 2)", None]


def test_what_a_method_raised_is_told_with_its_unit_and_the_debugger() -> None:
    raised = Failure("ZeroDivisionError", "float division by zero")
    said = describe_failure(unit("sample a"), raised, "mine")
    assert said.startswith(f"{unit('sample a').label} raised ZeroDivisionError: float division by zero; ")
    assert said.endswith("`oneclock run mine --pdb` stops where it is raised")
    own = (
        Failure(kind, "the weights have another shape") for kind in ("UsageError", "HarnessError", "DataAbsentError")
    )
    for whole in (DEATH, *own):
        assert describe_failure(unit("a"), whole, "mine") == whole.sentence
