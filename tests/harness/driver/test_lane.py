"""Hosts are kept for exclusive units in short turns on one host, and a few of several for as long as there are any."""

from __future__ import annotations

from typing import Any

import pytest

from harness.driver.lane import Lane, Load
from harness.specs.limits import (
    LANE_DRAIN_SECONDS,
    LANE_GAP_PER_IDLE_SECOND,
    LANE_GAP_SECONDS,
    LEAST_LANE_GAP_SECONDS,
)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def lane() -> tuple[Lane, Clock]:
    clock = Clock()
    return Lane(clock), clock


def hosts(made: Lane, ready: int, running: int, left: int, others: int, **more: Any) -> int:
    return made.hosts_to_reserve(Load(ready, running, left, others, **{"others_ready": left, **more}))


def test_the_first_turn_begins_as_soon_as_there_is_one_to_time() -> None:
    made, _ = lane()
    assert hosts(made, 0, 0, 50, 2) == 0
    assert hosts(made, 1, 0, 50, 2) == 1


def test_a_turn_lasts_until_none_is_ready_and_the_next_waits_for_its_gap() -> None:
    made, clock = lane()
    assert hosts(made, 1, 0, 50, 0) == 1
    assert hosts(made, 0, 1, 50, 0) == 1
    assert hosts(made, 0, 0, 50, 0) == 0
    clock.now += LEAST_LANE_GAP_SECONDS - 1
    assert hosts(made, 3, 0, 40, 2) == 0
    clock.now += 1
    assert hosts(made, 3, 0, 40, 2) == 1


@pytest.mark.parametrize(
    ("waited", "gap"), [(0.0, LEAST_LANE_GAP_SECONDS), (0.5, 0.5 * LANE_GAP_PER_IDLE_SECOND), (9.0, LANE_GAP_SECONDS)]
)
def test_the_gap_after_a_turn_goes_by_what_devices_lost_while_they_waited(waited: float, gap: float) -> None:
    made, clock = lane()
    hosts(made, 1, 0, 50, 1, idle_devices=1)
    clock.now += waited
    hosts(made, 1, 0, 50, 1, idle_devices=1)
    hosts(made, 0, 1, 50, 0)
    assert hosts(made, 0, 0, 50, 0) == 0
    clock.now += gap - 0.1
    assert hosts(made, 1, 0, 40, 2) == 0
    clock.now += 0.1
    assert hosts(made, 1, 0, 40, 2) == 1


def test_where_nothing_else_is_left_no_gap_is_kept() -> None:
    made, clock = lane()
    hosts(made, 1, 0, 1, 0)
    hosts(made, 0, 0, 1, 0)
    clock.now += 1
    assert hosts(made, 1, 0, 0, 1) == 0
    assert hosts(made, 1, 0, 0, 0) == 1


def test_a_turn_that_waits_for_a_long_task_is_put_off_and_what_it_cost_is_summed() -> None:
    made, clock = lane()
    hosts(made, 1, 0, 50, 2)
    clock.now += LANE_DRAIN_SECONDS
    assert hosts(made, 1, 0, 50, 1, idle_devices=1) == 1
    clock.now += 1
    assert hosts(made, 1, 0, 50, 1, idle_devices=1) == 0
    assert made.idle_seconds == LANE_DRAIN_SECONDS + 1
    clock.now += LANE_GAP_SECONDS
    assert hosts(made, 1, 0, 50, 2) == 0  # it waits for twice the gap
    clock.now += LANE_GAP_SECONDS
    assert hosts(made, 1, 0, 50, 2) == 1


LONG, OTHER = frozenset({"a long training"}), frozenset({"another"})


def turn_in_vain(made: Lane, clock: Clock, others: frozenset[str] = LONG) -> None:
    assert hosts(made, 1, 0, 50, 1, other_keys=others, idle_devices=1) == 1
    clock.now += LANE_DRAIN_SECONDS + 1
    assert hosts(made, 1, 0, 50, 1, other_keys=others, idle_devices=1) == 0


def test_before_the_first_row_a_turn_comes_as_soon_as_what_it_waited_for_in_vain_has_ended() -> None:
    made, clock = lane()
    turn_in_vain(made, clock, LONG | OTHER)
    clock.now += 1
    assert hosts(made, 1, 0, 50, 2, other_keys=LONG) == 0
    assert hosts(made, 1, 0, 50, 2, other_keys=frozenset({"a third"})) == 1


def test_later_so_only_while_waiting_has_cost_little() -> None:
    made, clock = lane()
    hosts(made, 1, 0, 50, 0)
    hosts(made, 0, 0, 50, 0)
    clock.now += LANE_GAP_SECONDS
    turn_in_vain(made, clock)
    lost = made.idle_seconds
    clock.now += 1
    assert hosts(made, 1, 0, 50, 2, other_keys=OTHER, devices_per_host=1) == 0
    assert hosts(made, 1, 0, 50, 2, other_keys=OTHER, devices_per_host=100) == 1
    assert lost == LANE_DRAIN_SECONDS + 1


def test_a_turn_waits_longer_where_units_are_known_to_take_longer() -> None:
    made, clock = lane()
    hosts(made, 1, 0, 50, 2)
    clock.now += 2 * 40
    assert hosts(made, 1, 0, 50, 1, unit_seconds=40.0) == 1
    clock.now += 1
    assert hosts(made, 1, 0, 50, 1, unit_seconds=40.0) == 0


def test_a_turn_is_not_in_vain_when_the_host_has_just_become_free() -> None:
    made, clock = lane()
    hosts(made, 1, 0, 50, 2)
    clock.now += LANE_DRAIN_SECONDS + 5
    assert hosts(made, 1, 0, 50, 0, finds_devices=True) == 1


def test_a_turn_whose_tasks_find_no_device_lets_the_others_go_on() -> None:
    made, clock = lane()
    assert hosts(made, 1, 0, 5, 0) == 1
    clock.now += LANE_DRAIN_SECONDS + 1
    assert hosts(made, 1, 0, 5, 0) == 0  # it needs two devices, and one is gone


def test_a_turn_in_which_tasks_run_one_after_another_is_not_cut_short() -> None:
    made, clock = lane()
    for _ in range(5):
        hosts(made, 3, 0, 5, 0)
        clock.now += LANE_DRAIN_SECONDS - 1
        hosts(made, 2, 1, 5, 0)
        clock.now += 5
        assert hosts(made, 2, 1, 5, 0) == 1


def test_no_turn_without_a_task_to_time() -> None:
    made, clock = lane()
    for _ in range(5):
        clock.now += 100
        assert hosts(made, 0, 0, 0, 0) == 0


@pytest.mark.parametrize(
    ("ready", "running", "left", "expected"),
    [(1, 0, 99, 1), (5, 0, 99, 4), (1, 2, 99, 3), (99, 0, 99, 4), (3, 0, 0, 32)],
)
def test_of_several_hosts_an_eighth_at_most_is_kept_while_other_work_is_ready(
    ready: int, running: int, left: int, expected: int
) -> None:
    made, _ = lane()
    assert hosts(made, ready, running, left, 9, hosts=32) == expected


@pytest.mark.parametrize(("ready", "others", "expected"), [(5, 0, 5), (99, 0, 8), (5, 1, 1), (99, 7, 1)])
def test_while_nothing_else_is_ready_all_that_are_wanted_are_kept(ready: int, others: int, expected: int) -> None:
    made, _ = lane()
    assert hosts(made, ready, 0, 50, 2, hosts=8, others_ready=others) == expected


def test_a_group_that_is_larger_than_a_host_gets_as_many_hosts_as_it_needs() -> None:
    made, _ = lane()
    assert hosts(made, 1, 0, 99, 9, hosts=16, devices_at_once=24, devices_per_host=8) == 3


def test_several_hosts_keep_no_gap_between_turns_but_do_after_one_in_vain() -> None:
    made, clock = lane()
    assert hosts(made, 1, 0, 50, 9, hosts=8) == 1
    assert hosts(made, 0, 0, 50, 9, hosts=8) == 0
    assert hosts(made, 1, 0, 50, 9, hosts=8) == 1
    clock.now += LANE_DRAIN_SECONDS + 1
    assert hosts(made, 1, 0, 50, 9, hosts=8) == 0
    clock.now += LANE_GAP_SECONDS
    assert hosts(made, 1, 0, 50, 9, hosts=8) == 0
