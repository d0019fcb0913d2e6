"""Which units are stragglers: by the median of their own task, and only where the difference is worth a second run."""

from __future__ import annotations

from typing import Any

from harness.driver.durations import Durations
from harness.task import Cut, Task, Unit


def unit(task_id: str = "a", number: int = 0) -> Unit:
    spec: Any = None
    return Task(task_id, spec, task_id, Cut(0, 100, 10)).unit(number)


def known(*seconds: float) -> Durations:
    made = Durations()
    for number, one in enumerate(seconds):
        made.add_duration(unit(number=number), one)
    return made


def test_nothing_straggles_before_its_task_has_a_median() -> None:
    assert not known(1.0, 1.0).is_straggler(unit(), 1e9)
    assert known(1.0, 1.0, 1.0).is_straggler(unit(), 1e9)
    assert not known(1.0, 1.0, 1.0).is_straggler(unit("another"), 1e9)


def test_a_straggler_takes_twice_the_median_and_seconds_more() -> None:
    assert not known(20.0, 40.0, 30.0).is_straggler(unit(), 60.0)
    assert known(20.0, 40.0, 30.0).is_straggler(unit(), 60.1)
    assert not known(1.0, 1.0, 1.0).is_straggler(unit(), 11.0)
    assert known(1.0, 1.0, 1.0).is_straggler(unit(), 11.1)


def test_the_longest_usual_time_is_that_of_what_runs() -> None:
    made = known(1.0, 5.0, 9.0)
    assert made.longest([unit()]) == 5.0
    assert made.longest([unit(), unit("another")]) == 9.0  # nothing is known of it: as the last ones
    assert made.longest([]) == 0.0
    assert Durations().longest([unit()]) == 0.0
