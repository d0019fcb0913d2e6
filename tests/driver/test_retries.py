"""A death counts against the worker first; against its task where no other died about then, three times in a row."""

from __future__ import annotations

from harness.driver.retries import CLOSE_SECONDS, MOST_DEATHS, Retries
from harness.task import Failure

DEATH = Failure("worker-died", "the worker died", lost=True)


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
        told.append(made.again("a", DEATH))
    assert told == ["(1 of 2)", "(2 of 2)", None]
    assert made.attempts("a") == 3


def test_ten_workers_killed_close_together_fail_no_task() -> None:
    clock = Clock()
    made = Retries(clock)
    told = []
    for _ in range(5):
        for task in ("a", "b"):
            clock.now += 0.5
            told.append(made.again(task, DEATH))
    assert told == ["(1 of 2)", *["(others died with it)"] * 9]
    clock.now += 10 * CLOSE_SECONDS
    assert [made.again("a", DEATH) for _ in range(3)] == ["(1 of 2)", "(2 of 2)", None]  # these are its own


def test_deaths_that_only_later_turn_out_to_be_shared_are_forgiven() -> None:
    clock = Clock()
    made = Retries(clock)
    made.again("a", DEATH)
    made.again("a", DEATH)
    clock.now = CLOSE_SECONDS
    made.again("b", DEATH)
    assert made.again("a", DEATH) is not None


def test_even_shared_deaths_end() -> None:
    made = Retries(Clock())
    told = []
    for _ in range(MOST_DEATHS):
        made.again("other", DEATH)
        told.append(made.again("a", DEATH))
    assert None not in told[:-1]
    assert told[-1] is None


def test_other_failures_have_bounds_of_their_own() -> None:
    made = Retries(Clock())
    lost, memory, own = Failure("inputs-lost", "gone"), Failure("out-of-memory", "full"), Failure("ValueError", "no")
    assert [made.again("a", lost) for _ in range(3)] == ["(1 of 2)", "(2 of 2)", None]
    assert [made.again("b", memory) for _ in range(2)] == ["(1 of 1)", None]
    assert made.again("c", own) is None
