"""Exclusive tasks run in short turns: at once when the first is ready, then at least half a minute apart."""

from __future__ import annotations

from harness.driver.lane import DRAIN_SECONDS, GAP_SECONDS, Lane, Load

NOTHING = Load(0, 0, 0, 0)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def lane() -> tuple[Lane, Clock]:
    clock = Clock()
    return Lane(clock), clock


def test_the_first_turn_begins_as_soon_as_there_is_one_to_time() -> None:
    made, _ = lane()
    made.look(Load(0, 0, 50, 2), 0)
    assert (made.admits(False), made.admits(True)) == (True, False)
    made.look(Load(1, 0, 50, 2), 0)
    assert (made.admits(False), made.admits(True)) == (False, True)


def test_a_turn_lasts_until_none_is_ready_and_the_next_waits_for_its_gap() -> None:
    made, clock = lane()
    made.look(Load(1, 0, 50, 0), 2)
    made.look(Load(0, 1, 50, 0), 1)
    assert made.is_open
    made.look(Load(0, 0, 50, 0), 2)
    assert not made.is_open
    clock.now += GAP_SECONDS - 1
    made.look(Load(3, 0, 40, 2), 0)
    assert not made.is_open
    clock.now += 1
    made.look(Load(3, 0, 40, 2), 0)
    assert made.is_open


def test_where_nothing_else_is_left_no_gap_is_kept() -> None:
    made, clock = lane()
    made.look(Load(1, 0, 1, 0), 2)
    made.look(Load(0, 0, 1, 0), 2)
    clock.now += 1
    made.look(Load(1, 0, 0, 1), 1)
    assert not made.is_open
    made.look(Load(1, 0, 0, 0), 2)
    assert made.is_open


def test_a_turn_that_waits_for_a_long_task_is_put_off_and_what_it_cost_is_told() -> None:
    made, clock = lane()
    made.look(Load(1, 0, 50, 2), 0)
    clock.now += DRAIN_SECONDS
    made.look(Load(1, 0, 50, 1), 1)
    assert made.is_open
    clock.now += 1
    made.look(Load(1, 0, 50, 1), 1)
    assert not made.is_open
    assert made.idle_seconds == DRAIN_SECONDS + 1
    made.look(Load(1, 0, 50, 2), 0)
    clock.now += GAP_SECONDS
    made.look(Load(1, 0, 50, 2), 0)
    assert not made.is_open  # it waits for twice the gap
    clock.now -= GAP_SECONDS
    clock.now += 2 * GAP_SECONDS
    made.look(Load(1, 0, 50, 2), 0)
    assert made.is_open


def test_a_turn_whose_tasks_find_no_device_lets_the_others_go_on() -> None:
    made, clock = lane()
    made.look(Load(1, 0, 5, 0), 1)
    assert made.is_open
    clock.now += DRAIN_SECONDS + 1
    made.look(Load(1, 0, 5, 0), 1)  # it needs two devices, and one is gone
    assert made.admits(False)


def test_a_turn_in_which_tasks_run_one_after_another_is_not_cut_short() -> None:
    made, clock = lane()
    for _ in range(5):
        made.look(Load(3, 0, 5, 0), 2)
        clock.now += DRAIN_SECONDS - 1
        made.look(Load(2, 1, 5, 0), 1)
        clock.now += 5
        made.look(Load(2, 1, 5, 0), 1)
        assert made.is_open


def test_no_turn_without_a_task_to_time() -> None:
    made, clock = lane()
    for _ in range(5):
        clock.now += 100
        made.look(NOTHING, 2)
        assert not made.is_open
